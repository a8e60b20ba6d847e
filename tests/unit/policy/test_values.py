"""Where a runbook's parameters come from, and whose agreement to a plan counts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from opslib.errors import ParameterError, PolicyError
from opslib.parameters import CanaryParameters
from opslib.policy.agreements import Agreement, count_agreements
from opslib.policy.policy import Approvals
from opslib.policy.values import fill_from_policy

NOW = datetime(2026, 11, 27, 12, tzinfo=UTC)


@pytest.fixture
def policy(tmp_path):
    """A policy that sets stages, the failure limit and an outcome."""
    path = tmp_path / "policy.yml"
    content = {
        "version": 1,
        "endpoint": "fraud",
        "owner": {"team": "claims", "contact": "on-call"},
        "objectives": {"max_failure_rate": 0.01, "business": [{"name": "chargeback"}]},
        "release": {"stages": [20, 100], "bake_s": 300},
    }
    path.write_text(yaml.safe_dump(content))
    return str(path)


def fill(**given):
    return fill_from_policy(CanaryParameters.check({"endpoint": "fraud", "canary": "green", **given}))


def test_without_a_policy_the_rest_is_default():
    """The values say where they came from."""
    values = fill(bake_s=60)
    assert values.policy is None
    assert values.parameters.bake_s == 60
    assert {name for name, origin in values.origins.items() if origin == "given"} == {
        "endpoint",
        "canary",
        "bake_s",
    }
    assert "policy" not in values.origins.values()


def test_what_is_given_comes_before_the_policy_and_the_policy_before_the_default(policy):
    """A given value counts even where it is the default's."""
    values = fill(policy=policy, bake_s=600)
    assert values.parameters.stages == [20, 100]
    assert values.parameters.bake_s == 600
    assert values.parameters.max_failure_rate == 0.01
    assert values.origins["stages"] == "policy"
    assert values.origins["bake_s"] == "given"
    assert values.origins["min_requests"] == "default"


def test_outcomes_are_judged_where_the_run_has_a_file_of_them(policy):
    """Their names are the policy's, the file is the run's."""
    assert fill(policy=policy).parameters.bad_outcomes == []
    assert fill(policy=policy, outcomes="o.jsonl").parameters.bad_outcomes == ["chargeback"]


def test_outcomes_that_the_policy_does_not_name_are_refused(tmp_path, policy):
    """A file of outcomes that nothing judges is a mistake."""
    path = tmp_path / "plain.yml"
    content = yaml.safe_load(Path(policy).read_text())
    path.write_text(yaml.safe_dump({key: content[key] for key in ("version", "endpoint", "owner")}))
    with pytest.raises(PolicyError, match="names no business objectives"):
        fill(policy=str(path), outcomes="o.jsonl")


def test_another_endpoints_policy_is_refused(policy):
    """The message names both."""
    with pytest.raises(PolicyError, match="of endpoint 'fraud'; this run is for 'other'"):
        fill_from_policy(CanaryParameters.check({"endpoint": "other", "canary": "green", "policy": policy}))


def test_what_does_not_fit_together_is_refused(tmp_path, policy):
    """As if all of it had been given."""
    path = tmp_path / "other.yml"
    path.write_text(yaml.safe_dump(yaml.safe_load(Path(policy).read_text()) | {"release": {"stages": [20, 50]}}))
    with pytest.raises(ParameterError, match="the last stage must be 100"):
        fill(policy=str(path))


def test_a_notebooks_defaults_are_not_given(policy):
    """bind takes as given what was injected or changed: the policy fills in the rest."""
    cell = {name: field.default for name, field in CanaryParameters.model_fields.items() if not field.is_required()}
    namespace = {**cell, "endpoint": "fraud", "canary": "green", "policy": policy, "min_requests": 50}
    namespace["In"] = ["# Parameters\nbake_s = 600.0\n"]
    values = fill_from_policy(CanaryParameters.bind(namespace))
    assert values.origins["min_requests"] == values.origins["bake_s"] == "given"
    assert values.parameters.bake_s == 600
    assert values.parameters.stages == [20, 100]


TWO_OF_THREE = Approvals(runbooks=("canary",), count=2, of=("ann", "bob", "cy"), valid_h=24)


@pytest.mark.parametrize(
    ("agreements", "who", "enough"),
    [
        ([], (), False),
        ([("ann", 1, True)], ("ann",), False),
        ([("ann", 1, True), ("ann", 2, True)], ("ann",), False),
        ([("ann", 1, True), ("cy", 2, True)], ("ann", "cy"), True),
        ([("ann", 1, True), ("dee", 1, True)], ("ann",), False),
        ([("ann", 1, True), ("bob", 25, True)], ("ann",), False),
        ([("ann", 1, True), ("bob", 1, False)], ("ann",), False),
        ([("ann", 1, True), ("bob", 24, True), ("cy", 30, True)], ("ann", "bob"), True),
    ],
)
def test_two_of_three_must_agree(agreements, who, enough):
    """Each person counts once, signed, in time, and only those who are named."""
    given = [Agreement(name, NOW - timedelta(hours=hours), signed) for name, hours, signed in agreements]
    count = count_agreements(TWO_OF_THREE, given, NOW)
    assert count.who == who
    assert count.enough is enough


def test_an_agreement_that_does_not_count_is_named_with_the_reason():
    """The person who is refused reads why."""
    given = [
        Agreement("bob", NOW - timedelta(hours=25), True),
        Agreement("dee", NOW, True),
        Agreement("cy", NOW, False),
    ]
    rejected = count_agreements(TWO_OF_THREE, given, NOW).rejected
    assert rejected == ("bob: 25.0 h old, valid for 24 h", "dee: not among ann, bob, cy", "cy: not signed")
