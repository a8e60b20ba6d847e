"""Where a runbook's parameters come from, and whose agreement to a plan counts."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml

from opslib.errors import ParameterError, PolicyError
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.validate import ValidateParameters
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


ROLES = {"clinical-lead": ("eve", "joe"), "model-risk": ("ann", "bob")}


@pytest.mark.parametrize(
    ("count", "including", "given", "enough"),
    [
        (1, (), ["joe"], True),
        (1, (), ["ann"], False),
        (2, ("clinical-lead",), ["eve", "max"], True),
        (2, ("clinical-lead",), ["ann", "max"], False),
        (2, ("clinical-lead",), ["eve", "joe"], True),
        (2, ("clinical-lead", "model-risk"), ["eve", "joe"], False),
        (2, ("clinical-lead", "model-risk"), ["eve", "bob"], True),
    ],
)
def test_a_role_is_the_people_in_it(count, including, given, enough):
    """A policy names roles whose people may, or must, approve."""
    of = () if including else ("clinical-lead",)
    rule = Approvals(runbooks=("canary",), count=count, of=of, including=including)
    agreements = [Agreement(name, NOW, signed=True, keyid=name) for name in given]
    counted = count_agreements(rule, agreements, NOW, ROLES)
    assert counted.enough is enough
    assert ("clinical-lead" in str(counted)) is ("clinical-lead" in counted.lacking)


def test_a_role_without_people_lets_nobody_approve():
    """It is no rule without names, by which every approver counts."""
    rule = Approvals(runbooks=("canary",), count=1, of=("clinical-lead",))
    counted = count_agreements(rule, [Agreement("mallory", NOW, signed=True)], NOW, {"clinical-lead": ()})
    assert not counted.enough
    assert counted.rejected == ("mallory: not among clinical-lead",)


def test_a_person_with_two_keys_counts_once_and_so_does_a_key_with_two_names():
    """Two approvals are two people with a key each."""
    rule = Approvals(runbooks=("canary",), count=2)
    twice = [Agreement("ann", NOW, signed=True, keyid="k1"), Agreement("Ann", NOW, signed=True, keyid="k2")]
    assert count_agreements(rule, twice, NOW).who == ("ann",)
    shared = [Agreement("ann", NOW, signed=True, keyid="k1"), Agreement("bob", NOW, signed=True, keyid="k1")]
    counted = count_agreements(rule, shared, NOW)
    assert not counted.enough
    assert counted.rejected == ("bob: signed by a key that another approval used",)
    both = [Agreement("ann", NOW, signed=True, keyid="k1"), Agreement("bob", NOW, signed=True, keyid="k2")]
    assert count_agreements(rule, both, NOW).enough


def test_an_approval_of_another_plan_is_named_and_not_counted():
    """The person who waits reads why."""
    rule = Approvals(runbooks=("canary",), count=1)
    given = [Agreement("ann", NOW, signed=True, objection="approved the plan 1, but this is 2")]
    counted = count_agreements(rule, given, NOW)
    assert str(counted) == "0 of 1 approvals; ann: approved the plan 1, but this is 2"


def test_the_validation_set_is_read_beside_the_policy(tmp_path):
    """Its path in the policy is relative to the policy, and the limit is the policy's."""
    path = tmp_path / "policy.yml"
    owner = {"team": "claims", "contact": "on-call"}
    validation = {"file": "claims.jsonl", "min_correct_rate": 0.9}
    content = {"version": 1, "endpoint": "fraud", "owner": owner, "validation": validation}
    path.write_text(yaml.safe_dump(content))
    given = {"endpoint": "fraud", "deployment": "green", "policy": str(path)}
    values = fill_from_policy(ValidateParameters.check(given))
    assert values.parameters.validation == str(tmp_path / "claims.jsonl")
    assert (values.parameters.min_correct_rate, values.origins["min_correct_rate"]) == (0.9, "policy")
    with pytest.raises(ParameterError, match="validation: missing"):
        ValidateParameters.check({"endpoint": "fraud", "deployment": "green"})
