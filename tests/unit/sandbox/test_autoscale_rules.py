from dataclasses import replace
from typing import Any

import pytest

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.autoscale.rules import Profile, Rule, decide, read_profiles

OUT = Rule("Cpu", "/d", 300, "Average", "Average", "GreaterThan", 70, True, "ChangeCount", 2, 300)
IN = replace(OUT, operator="LessThan", threshold=25, increase=False, value=1)
PROFILE = Profile(2, 5, 3, (OUT, IN))


@pytest.mark.parametrize(
    ("capacity", "cpu", "rested_s", "wanted"),
    [
        (1, 50, 0, 2),  # below the minimum: at once
        (9, 50, 0, 5),  # above the maximum: a manual scale is overridden
        (2, 80, 999, 4),
        (4, 80, 999, 5),  # not beyond the maximum
        (5, 80, 999, None),
        (2, 80, 299, None),  # cooling down
        (4, 20, 999, 3),
        (2, 20, 999, None),
        (3, 50, 999, None),
        (2, None, 999, 3),  # nothing measured: to the default
        (4, None, 999, None),
    ],
)
def test_a_profile_decides(capacity, cpu, rested_s, wanted):
    """Bounds come first, then scale-out, then scale-in; cooldowns are kept."""
    decision = decide(PROFILE, capacity, {OUT: cpu, IN: cpu}, rested_s)
    assert (decision and decision.capacity) == wanted


def test_scale_in_needs_all_rules_and_scale_out_one():
    """One of two scale-in rules is not enough; one of two scale-out rules is."""
    other_out, other_in = replace(OUT, metric="Latency", value=1), replace(IN, metric="Latency")
    profile = Profile(1, 9, 1, (OUT, IN, other_out, other_in))
    calm = {OUT: 10.0, IN: 10.0, other_out: 50.0, other_in: 50.0}
    assert decide(profile, 4, calm, 999) is None
    busy = {OUT: 10.0, IN: 10.0, other_out: 90.0, other_in: 90.0}
    assert decide(profile, 4, busy, 999).capacity == 5


def test_a_scale_in_that_would_flap_is_left():
    """From two to one at 60 % would be 120 %: the scale-out rule would bring it back."""
    generous = replace(IN, threshold=65)
    assert decide(Profile(1, 5, 1, (OUT, generous)), 2, {OUT: 60.0, generous: 60.0}, 999) is None


def _body(**changes: Any) -> dict[str, Any]:
    trigger = {
        "metricName": "CpuUtilizationPercentage",
        "timeGrain": "PT1M",
        "statistic": "Average",
        "timeWindow": "PT5M",
        "timeAggregation": "Average",
        "operator": "GreaterThan",
        "threshold": 70,
        "dividePerInstance": False,
        "dimensions": [],
    }
    action = {"direction": "Increase", "type": "ChangeCount", "value": "1", "cooldown": "PT5M"}
    capacity = {"minimum": "1", "maximum": "3", "default": "1"}
    for part in (trigger, action, capacity):
        part.update({key: value for key, value in changes.items() if key in part})
    rules = [{"metricTrigger": trigger, "scaleAction": action}]
    return {"profiles": [{"name": "default", "capacity": capacity, "rules": rules}]}


def test_the_documented_rule_is_read():
    """The setting of Microsoft's documentation is accepted."""
    (profile,) = read_profiles(_body())
    assert profile.rules[0].target(2) == 3


@pytest.mark.parametrize(
    "changes",
    [
        {"minimum": "0"},
        {"minimum": "4"},
        {"default": "two"},
        {"timeWindow": "PT1M"},
        {"timeWindow": "soon"},
        {"cooldown": "PT1S"},
        {"operator": "Above"},
        {"direction": "Up"},
        {"type": "Double"},
        {"threshold": "70"},
        {"statistic": "Median"},
        {"dimensions": [{"DimensionName": "deployment"}]},
        {"dimensions": "deployment"},
    ],
)
def test_a_bad_setting_is_refused(changes):
    """What Azure Monitor does not accept is a 400."""
    with pytest.raises(ArmError) as caught:
        read_profiles(_body(**changes))
    assert caught.value.status == 400


def test_a_rule_divides_and_splits_as_it_says():
    """A metric is divided by instances if the rule sets it, and read for the named dimensions only."""
    dimensions = [{"DimensionName": "deployment", "Operator": "Equals", "Values": ["blue", "green"]}]
    (profile,) = read_profiles(_body(dividePerInstance=True, dimensions=dimensions))
    (rule,) = profile.rules
    assert rule.measure([8.0, 4.0], capacity=3) == 2.0
    assert rule.dimensions == (("deployment", "eq", "blue"), ("deployment", "eq", "green"))
