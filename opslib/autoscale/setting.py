"""An autoscale setting as values, read from Azure Monitor's JSON.

Source: REST reference of Microsoft.Insights autoscaleSettings 2022-10-01.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from opslib.errors import UnexpectedAnswer

API_VERSION = "2022-10-01"

Json = dict[str, Any]

_DURATION = re.compile(r"P(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?")


@dataclass(frozen=True)
class ScaleRule:
    """When a metric's window is beyond a threshold, change the number of instances.

    Attributes
    ----------
    metric, resource
        Metric, and ARM id of what it is measured on.
    operator, threshold
        Azure's operator, such as "GreaterThan", and what it compares with.
    grain_s, window_s, cooldown_s
        Length of a point, of the window, and of the rest after an action [seconds].
    increase
        Whether it adds instances.
    type, value
        "ChangeCount", "PercentChangeCount" or "ExactCount", and by how much, or to which count.
    """

    metric: str
    resource: str
    operator: str
    threshold: float
    grain_s: float
    window_s: float
    cooldown_s: float
    increase: bool
    type: str
    value: int

    @property
    def above(self) -> bool:
        """Whether it acts on a high value."""
        return self.operator.lower().startswith("greater")

    def target(self, instances: int) -> int:
        """Return the count that it sets."""
        if self.type == "ExactCount":
            return self.value
        step = self.value if self.type == "ChangeCount" else max(1, instances * self.value // 100)
        return instances + step if self.increase else instances - step

    def triggers(self, value: float) -> bool:
        """Return whether a value is beyond the threshold."""
        if self.operator.lower().endswith("orequal") and value == self.threshold:
            return True
        return value > self.threshold if self.above else value < self.threshold

    def __str__(self) -> str:
        """Metric, comparison and action, in one line."""
        sign = ">" if self.above else "<"
        unit = {"ChangeCount": "", "PercentChangeCount": " %", "ExactCount": ""}.get(self.type, "")
        step = (
            f"to {self.value}"
            if self.type == "ExactCount"
            else f"{'+' if self.increase else '-'}{self.value}{unit}"
        )
        return f"{self.metric} {sign} {self.threshold:g} over {self.window_s / 60:g} min: {step}"


@dataclass(frozen=True)
class ScaleProfile:
    """Bounds of the number of instances, the rules within them, and when they hold."""

    name: str
    minimum: int
    maximum: int
    default: int
    rules: tuple[ScaleRule, ...]
    when: str = "otherwise"


@dataclass(frozen=True)
class ScaleSetting:
    """One autoscale setting; `arm` is the resource's whole JSON, and `target` the ARM id of what it scales."""

    name: str
    enabled: bool
    target: str
    profiles: tuple[ScaleProfile, ...]
    arm: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def deployment(self) -> str:
        """Name of the deployment that it scales."""
        return self.target.rstrip("/").rsplit("/", 1)[-1]


def read_setting(arm: Mapping[str, Any]) -> ScaleSetting:
    """Read a setting from Azure's JSON.

    Raises
    ------
    UnexpectedAnswer
        If a field that the setting needs is missing or has another form.
    """
    try:
        properties = arm["properties"]
        profiles = tuple(_profile(row) for row in properties["profiles"])
        return ScaleSetting(
            str(arm["name"]), bool(properties.get("enabled")), str(properties["targetResourceUri"]), profiles, arm
        )
    except (LookupError, TypeError, ValueError, AttributeError) as error:
        raise UnexpectedAnswer(
            f"autoscale setting {arm.get('name')}: not understood ({type(error).__name__}: {error}). "
            "Expected the form of 2022-10-01. Show it with `az monitor autoscale show`"
        ) from error


def read_duration(text: str) -> float:
    """Return the seconds of an ISO 8601 duration.

    Examples
    --------
    >>> read_duration("PT5M"), read_duration("PT1H30M"), read_duration("P1D")
    (300.0, 5400.0, 86400.0)
    """
    found = _DURATION.fullmatch(text)
    if found is None or not any(found.groups()):
        raise ValueError(f"expected a duration such as PT5M, got {text!r}")
    days, hours, minutes, seconds = (int(part or 0) for part in found.groups())
    return float(((days * 24 + hours) * 60 + minutes) * 60 + seconds)


def _profile(row: Mapping[str, Any]) -> ScaleProfile:
    capacity = row["capacity"]
    return ScaleProfile(
        str(row["name"]),
        int(capacity["minimum"]),
        int(capacity["maximum"]),
        int(capacity["default"]),
        tuple(_rule(rule) for rule in row.get("rules") or []),
        _when(row),
    )


def _when(row: Mapping[str, Any]) -> str:
    fixed, recurring = row.get("fixedDate"), row.get("recurrence")
    if fixed:
        return f"{fixed['start']} to {fixed['end']}"
    if not recurring:
        return "otherwise"
    schedule = recurring["schedule"]
    days = ", ".join(day[:3] for day in schedule["days"])
    return f"{days} from {int(schedule['hours'][0]):02}:{int(schedule['minutes'][0]):02} {schedule['timeZone']}"


def _rule(row: Mapping[str, Any]) -> ScaleRule:
    trigger, action = row["metricTrigger"], row["scaleAction"]
    return ScaleRule(
        metric=str(trigger["metricName"]),
        resource=str(trigger.get("metricResourceUri") or ""),
        operator=str(trigger["operator"]),
        threshold=float(trigger["threshold"]),
        grain_s=read_duration(trigger["timeGrain"]),
        window_s=read_duration(trigger["timeWindow"]),
        cooldown_s=read_duration(action["cooldown"]),
        increase=str(action["direction"]).lower() == "increase",
        type=str(action["type"]),
        value=int(action.get("value") or 1),
    )
