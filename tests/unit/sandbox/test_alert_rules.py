from typing import Any

import pytest

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.alerts.rules import CRITERIA, AlertRule, Standing, judge, read_alert


def _criterion(name: str = "slow", **changes: Any) -> dict[str, Any]:
    usual = {
        "name": name,
        "metricName": "RequestLatency_P95",
        "operator": "GreaterThan",
        "threshold": 500,
        "timeAggregation": "Average",
        "criterionType": "StaticThresholdCriterion",
    }
    return {**usual, **changes}


def _alert(*criteria: dict[str, Any], **changes: Any) -> dict[str, Any]:
    usual = {
        "scopes": ["/e"],
        "severity": 2,
        "enabled": True,
        "evaluationFrequency": "PT1M",
        "windowSize": "PT5M",
        "criteria": {"odata.type": CRITERIA[0], "allOf": list(criteria or [_criterion()])},
    }
    return {**usual, **changes}


def _standings(rule: AlertRule, seen: list[bool | None]) -> list[tuple[bool, bool]]:
    """Feed evaluations, a minute apart; return whether the condition holds and an alert is raised."""
    standing, found = Standing(), []
    for minute, met in enumerate(seen, start=1):
        before, standing = standing, standing.next(met, rule, now_s=60.0 * minute + 1e9)
        found.append((standing.fired, standing.fired_s > before.fired_s))
    return found


def test_an_alert_is_raised_once_and_resolved_after_three_good_evaluations():
    """Two good ones are not enough, a bad one restarts the count, and an unmeasured one does not count."""
    rule = read_alert(_alert())
    seen = _standings(rule, [False, True, True, False, False, True, False, None, False, None, False, True])
    assert [fired for fired, _ in seen] == [False] + [True] * 9 + [False, True]
    assert [index for index, (_, raised) in enumerate(seen) if raised] == [1, 11]


def test_criteria_for_several_resources_are_read_for_one():
    """Terraform sends this type for one resource too; the alert names the type that was sent."""
    sent = {"odata.type": "Microsoft.Azure.Monitor.MultipleResourceMultipleMetricCriteria", "allOf": [_criterion()]}
    rule = read_alert(_alert(criteria=sent))
    assert [one.metric for one in rule.criteria] == ["RequestLatency_P95"]
    assert rule.criteria_type == sent["odata.type"]
    with pytest.raises(ArmError, match="one scope"):
        read_alert(_alert(criteria=sent, scopes=["/e", "/f"]))


def test_a_rule_without_state_is_raised_again_and_again():
    """Every five minutes while its condition holds."""
    seen = _standings(read_alert(_alert(autoMitigate=False)), [True] * 11)
    assert [index for index, (_, raised) in enumerate(seen) if raised] == [0, 5, 10]


def test_all_criteria_together_fire():
    """One of two is not enough; where one has no value nothing is known."""
    rule = read_alert(_alert(_criterion("slow"), _criterion("idle", operator="LessThanOrEqual", threshold=3)))
    slow, idle = rule.criteria
    assert judge(rule, {slow: 501.0, idle: 3.0}) is True
    assert judge(rule, {slow: 501.0, idle: 4.0}) is False
    assert judge(rule, {slow: 501.0, idle: None}) is None
    assert judge(rule, {slow: 501.0}) is None


@pytest.mark.parametrize(
    "alert",
    [
        _alert(scopes=["/a", "/b"]),
        _alert(severity=5),
        _alert(severity=True),
        _alert(enabled="yes"),
        _alert(autoMitigate=1),
        _alert(evaluationFrequency="PT2M"),
        _alert(windowSize="PT10M"),
        _alert(evaluationFrequency="PT15M"),
        _alert(windowSize="PT6H"),
        _alert(windowSize=None),
        _alert(criteria={"odata.type": CRITERIA[0], "allOf": []}),
        _alert(criteria={"odata.type": "Microsoft.Azure.Monitor.WebtestLocationAvailabilityCriteria"}),
        _alert(*[_criterion(str(number)) for number in range(6)]),
        _alert(_criterion(), _criterion()),
        _alert(_criterion(operator="NotEquals")),
        _alert(_criterion(threshold="500")),
        _alert(_criterion(timeAggregation="Last")),
        _alert(_criterion(metricName="")),
        _alert(_criterion(dimensions=[{"name": "deployment", "operator": "Include", "values": []}])),
        _alert(_criterion(dimensions=[{"name": "deployment", "operator": "Is", "values": ["blue"]}])),
        _alert(
            _criterion("a"),
            _criterion("b", dimensions=[{"name": "deployment", "operator": "Include", "values": ["*"]}]),
        ),
    ],
)
def test_a_bad_alert_is_refused(alert: dict[str, Any]):
    """What Azure Monitor does not accept is a 400."""
    with pytest.raises(ArmError) as caught:
        read_alert(alert)
    assert caught.value.status == 400


def test_dynamic_thresholds_are_not_built():
    """They are refused, instead of never firing."""
    with pytest.raises(ArmError) as caught:
        read_alert(_alert(_criterion(criterionType="DynamicThresholdCriterion")))
    assert caught.value.status == 501
