"""Autoscale settings as values: what is accepted, and what they decide. Pure.

Source: Microsoft Learn, Azure Monitor, "Understand autoscale settings" and "Best practices for autoscale"
(any rule scales out, all rules together scale in, projected flapping stops a scale-in), REST reference of
Microsoft.Insights autoscaleSettings 2022-10-01.
"""

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.autoscale.schedule import When, choose, read_when
from opslib.sandbox.insights.conditions import (
    OPERATORS,
    Dimension,
    read_dimensions,
    read_seconds,
    read_threshold,
    read_word,
)

STATISTICS = {"Average": "average", "Min": "minimum", "Max": "maximum", "Sum": "average", "Count": "average"}
_AGGREGATIONS: dict[str, Callable[[list[float]], float]] = {
    "Average": lambda values: sum(values) / len(values),
    "Minimum": min,
    "Maximum": max,
    "Total": sum,
    "Count": lambda values: float(len(values)),
    "Last": lambda values: values[-1],
}
_TYPES = ("ChangeCount", "PercentChangeCount", "ExactCount")
_WINDOW_S, _COOLDOWN_S = (300.0, 43200.0), (60.0, 604800.0)
_MOST_PROFILES, _MAX_RULES = 20, 10
_DIMENSION, _SIGNS = ("DimensionName", "Operator", "Values"), {"Equals": "eq", "NotEquals": "ne"}


@dataclass(frozen=True)
class Rule:
    """When a metric's window is beyond a threshold, change the count of instances."""

    metric: str
    resource: str
    window_s: float
    statistic: str
    aggregation: str
    operator: str
    threshold: float
    increase: bool
    type: str
    value: int
    cooldown_s: float
    dimensions: tuple[Dimension, ...] = ()
    per_instance: bool = False

    def measure(self, points: list[float], capacity: int = 1) -> float | None:
        """Return the value that is compared, of so many instances; of no points, none."""
        if not points:
            return None
        return _AGGREGATIONS[self.aggregation](points) / (max(1, capacity) if self.per_instance else 1)

    def triggers(self, measured: float | None) -> bool:
        """Return whether a measured value is beyond the threshold; what was not measured is not."""
        return measured is not None and OPERATORS[self.operator](measured, self.threshold)

    def target(self, capacity: int) -> int:
        """Return the count that the rule sets."""
        if self.type == "ExactCount":
            return self.value
        step = self.value if self.type == "ChangeCount" else max(1, math.floor(capacity * self.value / 100))
        return capacity + step if self.increase else capacity - step


@dataclass(frozen=True)
class Profile:
    """Bounds of the count of instances, the rules within them (there may be none), and when both hold."""

    minimum: int
    maximum: int
    default: int
    rules: tuple[Rule, ...]
    name: str = ""
    when: When = None


@dataclass(frozen=True)
class Decision:
    """A count of instances to go to, and for how long to rest after it [s]."""

    capacity: int
    cooldown_s: float
    why: str


def decide(
    profile: Profile, capacity: int, measured: Mapping[Rule, float | None], rested_s: float
) -> Decision | None:
    """Return what a profile decides now; None when there is nothing to do.

    Parameters
    ----------
    capacity
        Present instances [count].
    measured
        Value of each rule's metric; None where nothing was measured.
    rested_s
        Time since the last action of this setting [s].
    """
    bounded = min(max(capacity, profile.minimum), profile.maximum)
    if bounded != capacity:
        return Decision(bounded, 0.0, f"{capacity} is outside {profile.minimum} to {profile.maximum}")
    if profile.rules and all(value is None for value in measured.values()):
        return Decision(profile.default, 0.0, "nothing was measured") if capacity < profile.default else None
    out = [rule for rule in profile.rules if rule.increase and rule.triggers(measured[rule])]
    inward = [rule for rule in profile.rules if not rule.increase]
    if out:
        chosen = max(out, key=lambda rule: rule.target(capacity))
    elif inward and all(rule.triggers(measured[rule]) for rule in inward):
        chosen = max(inward, key=lambda rule: rule.target(capacity))  # the smallest step down
    else:
        return None
    wanted = min(max(chosen.target(capacity), profile.minimum), profile.maximum)
    if wanted == capacity or rested_s < chosen.cooldown_s:
        return None
    if not chosen.increase and _flaps(profile, capacity, wanted, measured):
        return None
    why = f"{chosen.metric} is {measured[chosen]:g}, {chosen.operator} {chosen.threshold:g}"
    return Decision(wanted, chosen.cooldown_s, why)


def read_profiles(properties: Mapping[str, Any]) -> tuple[Profile, ...]:
    """Read a setting's profiles.

    Raises
    ------
    ArmError
        If Azure Monitor would not accept them.
    """
    rows = properties.get("profiles")
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MOST_PROFILES:
        raise ArmError.bad_request(f"An autoscale setting has 1 to {_MOST_PROFILES} profiles.")
    profiles = tuple(_profile(row) for row in rows)
    names = [profile.name for profile in profiles]
    if len(set(names)) < len(names):
        raise ArmError.bad_request(f"Each profile of a setting has a name of its own, got {names}.")
    if sum(profile.when is None for profile in profiles) > 1:
        raise ArmError.bad_request("Only one profile can be the default one, without recurrence and fixedDate.")
    return profiles


def present_profile(profiles: tuple[Profile, ...], now: datetime) -> Profile | None:
    """Return the profile that holds now; None when none does."""
    index = choose([profile.when for profile in profiles], now)
    return None if index is None else profiles[index]


def _flaps(profile: Profile, capacity: int, wanted: int, measured: Mapping[Rule, float | None]) -> bool:
    """Return whether fewer instances would at once be scaled out again."""
    projected = {rule: (value or 0.0) * capacity / wanted for rule, value in measured.items()}
    return any(rule.increase and rule.triggers(projected[rule]) for rule in profile.rules)


def _profile(row: Any) -> Profile:
    if not isinstance(row, dict) or not isinstance(row.get("capacity"), dict):
        raise ArmError.bad_request("A profile needs a capacity of minimum, maximum and default.")
    low, high, usual = (_count(row["capacity"].get(name), name) for name in ("minimum", "maximum", "default"))
    if not 1 <= low <= usual <= high:
        raise ArmError.bad_request(f"1 <= minimum <= default <= maximum must hold, got {low}, {usual}, {high}.")
    rules = row.get("rules") or []
    if not isinstance(rules, list) or len(rules) > _MAX_RULES:
        raise ArmError.bad_request(f"A profile has at most {_MAX_RULES} rules.")
    name = row.get("name")
    if not isinstance(name, str) or not name:
        raise ArmError.bad_request(f"A profile needs a name, got {name!r}.")
    return Profile(low, high, usual, tuple(_rule(rule) for rule in rules), name, read_when(row))


def _rule(row: Any) -> Rule:
    parts = (row.get("metricTrigger"), row.get("scaleAction")) if isinstance(row, dict) else (None, None)
    trigger, action = parts
    if not isinstance(trigger, dict) or not isinstance(action, dict):
        raise ArmError.bad_request("A rule needs a metricTrigger and a scaleAction.")
    _duration("timeGrain", trigger.get("timeGrain"), (60.0, 43200.0))
    return Rule(
        metric=str(trigger.get("metricName")),
        resource=str(trigger.get("metricResourceUri")),
        window_s=_duration("timeWindow", trigger.get("timeWindow"), _WINDOW_S),
        statistic=read_word("statistic", trigger.get("statistic"), STATISTICS),
        aggregation=read_word("timeAggregation", trigger.get("timeAggregation"), _AGGREGATIONS),
        operator=read_word("operator", trigger.get("operator"), OPERATORS),
        threshold=read_threshold(trigger.get("threshold")),
        increase=read_word("direction", action.get("direction"), ("Increase", "Decrease")) == "Increase",
        type=read_word("type", action.get("type"), _TYPES),
        value=_count(action.get("value", "1"), "value"),
        cooldown_s=_duration("cooldown", action.get("cooldown"), _COOLDOWN_S),
        dimensions=read_dimensions(trigger.get("dimensions"), _DIMENSION, _SIGNS),
        per_instance=trigger.get("dividePerInstance") is True,
    )


def _count(value: Any, name: str) -> int:
    text = str(value)
    if not text.isascii() or not text.isdigit() or len(text) > 6:
        raise ArmError.bad_request(f"The {name} must be a whole number in a string, got {value!r}.")
    return int(text)


def _duration(name: str, value: Any, between: tuple[float, float]) -> float:
    seconds = read_seconds(name, value)
    if not between[0] <= seconds <= between[1]:
        raise ArmError.bad_request(
            f"The {name} must be from {between[0]:g} s to {between[1]:g} s, got {seconds:g} s."
        )
    return seconds
