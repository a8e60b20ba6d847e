"""Metric alert rules as values: what is accepted, when one fires and when it is over. Pure.

Source: REST reference of metricAlerts 2018-03-01 and Microsoft Learn, Azure Monitor, "What are Azure Monitor
alerts?": all criteria together fire; a stateful alert is resolved after three evaluations in a row that do not
meet them. Allowed times: Azure/azure-cli#31138, and DFE-Digital/publish-teacher-training#4368 with the words of
the refusal. What is not measured changes nothing, which is our choice.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.conditions import (
    OPERATORS,
    Dimension,
    read_dimensions,
    read_seconds,
    read_threshold,
    read_word,
)

CRITERIA = tuple(
    f"Microsoft.Azure.Monitor.{which}ResourceMultipleMetricCriteria" for which in ("Single", "Multiple")
)
"""Both are accepted for one resource: the Azure CLI sends the first one, Terraform the second one."""
_OPERATORS = [name for name in OPERATORS if name != "NotEquals"]
_AGGREGATIONS = ("Average", "Count", "Minimum", "Maximum", "Total")
_SIGNS = {"Include": "eq", "Exclude": "ne"}
_FREQUENCIES_S = (60.0, 300.0, 900.0, 1800.0, 3600.0)
_WINDOWS_S = (*_FREQUENCIES_S, 21600.0, 43200.0, 86400.0)
_LONG_S, _AGAIN_S = 4 * 3600.0, 300.0
_MAX_CRITERIA = 5
RESOLVED_AFTER = 3  # evaluations in a row


@dataclass(frozen=True)
class Criterion:
    """A metric's value over the window, beyond a threshold."""

    name: str
    metric: str
    aggregation: str
    operator: str
    threshold: float
    dimensions: tuple[Dimension, ...] = ()

    def met_by(self, value: float) -> bool:
        """Return whether a value is beyond the threshold."""
        return OPERATORS[self.operator](value, self.threshold)


@dataclass(frozen=True)
class AlertRule:
    """What is watched, how often [s] and over what window [s]."""

    scope: str
    enabled: bool
    severity: int
    description: str
    frequency_s: float
    window_s: float
    criteria: tuple[Criterion, ...]
    stateful: bool
    criteria_type: str = CRITERIA[0]


@dataclass(frozen=True)
class Standing:
    """The state of one series of a rule.

    Attributes
    ----------
    fired
        Whether the condition holds: of a stateful rule until it is resolved.
    well
        Evaluations in a row that did not meet it [count].
    fired_s
        When an alert was last raised [s since the epoch].
    """

    fired: bool = False
    well: int = 0
    fired_s: float = 0.0

    def next(self, met: bool | None, rule: AlertRule, now_s: float) -> "Standing":
        """Return the state after one more evaluation; `met` is None when nothing was measured.

        A stateful rule raises one alert until that is resolved; another one raises again while its condition
        holds, every five minutes or as often as it is evaluated if that is less.
        """
        if met is None:
            return self
        if not met:
            over = not rule.stateful or self.well + 1 >= RESOLVED_AFTER
            return Standing(self.fired and not over, self.well + 1, self.fired_s)
        rested = now_s - self.fired_s >= max(_AGAIN_S, rule.frequency_s)
        raised = not self.fired if rule.stateful else rested
        return Standing(fired=True, fired_s=now_s if raised else self.fired_s)


def judge(rule: AlertRule, values: Mapping[Criterion, float | None]) -> bool | None:
    """Return whether all criteria are met; None when one of them has no value."""
    measured = [(criterion, values.get(criterion)) for criterion in rule.criteria]
    if any(value is None for _, value in measured):
        return None
    return all(value is not None and criterion.met_by(value) for criterion, value in measured)


def read_alert(properties: Mapping[str, Any]) -> AlertRule:
    """Read a metric alert.

    Raises
    ------
    ArmError
        If Azure Monitor would not accept it, or the sandbox has not built its kind of criteria (501).
    """
    scopes, criteria = properties.get("scopes"), properties.get("criteria")
    if not isinstance(scopes, list) or len(scopes) != 1:
        raise ArmError.bad_request("A metric alert has one scope here: an online endpoint or deployment.")
    if not isinstance(criteria, dict) or criteria.get("odata.type") not in CRITERIA:
        raise ArmError.bad_request(f"The criteria must be of odata.type {' or '.join(CRITERIA)}.")
    rows = criteria.get("allOf")
    if not isinstance(rows, list) or not 1 <= len(rows) <= _MAX_CRITERIA:
        raise ArmError.bad_request(f"A metric alert has 1 to {_MAX_CRITERIA} criteria in allOf.")
    found = tuple(_criterion(row) for row in rows)
    names = [one.name for one in found]
    if len(set(names)) < len(names):
        raise ArmError.bad_request(f"Each criterion has a name of its own, got {names}.")
    if len(found) > 1 and any(_several(one) for one in found):
        raise ArmError.bad_request("With several criteria a dimension of each has one value, and no '*'.")
    frequency_s = _among("evaluationFrequency", properties.get("evaluationFrequency"), _FREQUENCIES_S)
    window_s = _among("windowSize", properties.get("windowSize"), _WINDOWS_S)
    _check_times(frequency_s, window_s)
    return AlertRule(
        scope=str(scopes[0]),
        enabled=_flag(properties, "enabled"),
        severity=_severity(properties.get("severity")),
        description=str(properties.get("description") or ""),
        frequency_s=frequency_s,
        window_s=window_s,
        criteria=found,
        stateful=_flag({"autoMitigate": True, **properties}, "autoMitigate"),
        criteria_type=criteria["odata.type"],
    )


def _several(criterion: Criterion) -> bool:
    names = [name for name, _, _ in criterion.dimensions]
    return len(set(names)) < len(names) or any(
        sign == "ne" or value == "*" for _, sign, value in criterion.dimensions
    )


def _check_times(frequency_s: float, window_s: float) -> None:
    if window_s > _LONG_S and frequency_s < 300:
        raise ArmError.bad_request(
            "Evaluation frequency must be greater than or equal to five minutes since the period is greater than "
            "four hours."
        )
    if window_s < frequency_s:
        raise ArmError.bad_request("The windowSize must not be shorter than the evaluationFrequency.")


def _criterion(row: Any) -> Criterion:
    if not isinstance(row, dict):
        raise ArmError.bad_request("A criterion is an object.")
    if row.get("criterionType") == "DynamicThresholdCriterion":
        raise ArmError.not_built("metric alerts with dynamic thresholds")
    for name in ("name", "metricName"):
        if not isinstance(row.get(name), str) or not row[name]:
            raise ArmError.bad_request(f"A criterion needs a {name}.")
    return Criterion(
        name=row["name"],
        metric=row["metricName"],
        aggregation=read_word("timeAggregation", row.get("timeAggregation"), _AGGREGATIONS),
        operator=read_word("operator", row.get("operator"), _OPERATORS),
        threshold=read_threshold(row.get("threshold")),
        dimensions=read_dimensions(row.get("dimensions"), ("name", "operator", "values"), _SIGNS),
    )


def _severity(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 <= value <= 4:
        raise ArmError.bad_request("The severity must be an integer from 0 to 4.")
    return value


def _flag(properties: Mapping[str, Any], name: str) -> bool:
    if not isinstance(properties.get(name), bool):
        raise ArmError.bad_request(f"The property '{name}' must be true or false, got {properties.get(name)!r}.")
    return bool(properties[name])


def _among(name: str, value: Any, known: tuple[float, ...]) -> float:
    seconds = read_seconds(name, value)
    if seconds not in known:
        minutes = ", ".join(f"{one / 60:g}" for one in known)
        raise ArmError.bad_request(f"The {name} must be one of {minutes} minutes, got {seconds / 60:g}.")
    return seconds
