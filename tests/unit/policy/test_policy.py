"""A policy file: what it gives to a runbook, and what is refused with its line."""

import re
from datetime import UTC, datetime
from pathlib import Path

import pytest
import yaml

from opslib.errors import PolicyError
from opslib.parameters.canary import CanaryParameters
from opslib.policy.policy import RELEASE_FIELDS, Policy
from opslib.policy.reading import read_policy

LEAST = {"version": 1, "endpoint": "fraud", "owner": {"team": "claims", "contact": "claims-on-call"}}


def written(tmp_path, **changes):
    path = tmp_path / "policy.yml"
    path.write_text(yaml.safe_dump(LEAST | changes, sort_keys=False))
    return path


def test_the_least_policy_names_an_owner_and_sets_nothing(tmp_path):
    """Everything else has the runbook's own default."""
    policy = read_policy(written(tmp_path))
    assert policy.owner.team == "claims"
    assert policy.settings("canary") == {}
    assert policy.approvals_for("canary") is None


def test_release_and_objectives_become_the_runbooks_parameters(tmp_path):
    """Each runbook is given what it takes, and what it is given is valid."""
    policy = read_policy(
        written(
            tmp_path,
            release={"stages": [10, 100], "bake_s": 300, "min_requests": 50},
            objectives={
                "max_failure_rate": 0.01,
                "max_p95_ms": 250,
                "business": [{"name": "chargeback"}, {"name": "order_value", "bad": False, "tolerated_fall": 0.5}],
            },
        )
    )
    settings = policy.settings("canary")
    assert settings == {
        "stages": [10, 100],
        "bake_s": 300,
        "min_requests": 50,
        "max_failure_rate": 0.01,
        "max_p95_ms": 250,
        "bad_outcomes": ["chargeback"],
        "measures": {"order_value": 0.5},
    }
    assert CanaryParameters.check({"endpoint": "fraud", "canary": "green", "outcomes": "o.jsonl", **settings})
    assert policy.settings("scale") == {"min_requests": 50, "max_failure_rate": 0.01, "max_p95_ms": 250}
    assert policy.settings("deploy") == {}


def test_an_empty_list_is_a_value_too(tmp_path):
    """No quantile is to be proven: the runbook's three are not."""
    assert read_policy(written(tmp_path, release={"proven_quantiles": []})).settings("canary") == {
        "proven_quantiles": []
    }


def test_every_release_field_is_a_parameter_of_the_canary():
    """Names, units and ranges are the runbook's own."""
    assert set(RELEASE_FIELDS) <= CanaryParameters.model_fields.keys()


@pytest.mark.parametrize(
    ("changes", "line", "message"),
    [
        ({"endpiont": "x"}, 6, "endpiont: unknown field"),
        ({"owner": {"team": "claims"}}, 3, "owner.contact: missing"),
        ({"version": 2}, 1, "version: input should be 1, got 2"),
        ({"release": {"bake_s": -1}}, 7, "release.bake_s"),
        ({"release": {"bake": 1}}, 7, "release.bake: unknown field"),
        ({"windows": [{"schedule": "nine", "duration_min": 5}]}, 7, "is not a schedule"),
        ({"freezes": [{"starts": "2026-12-20", "ends": "2026-12-01", "reason": "x"}]}, 7, "ends must be after"),
        ({"approvals": [{"runbooks": ["canary"], "count": 3, "of": ["a", "b"]}]}, 7, "only 2 may approve"),
        (
            {"approvals": [{"runbooks": ["canary"], "count": 1}] * 2},
            6,
            "approvals of canary are given more than once",
        ),
        ({"objectives": {"business": [{"name": "x", "bad": False}]}}, 8, "tolerated_fall goes with bad: false"),
        (
            {
                "approvals": [{"runbooks": ["canary"], "count": 3, "of": ["lead"]}],
                "roles": {"lead": ["eve", "joe"]},
            },
            7,
            "only 2 may approve: eve, joe",
        ),
        (
            {"approvals": [{"runbooks": ["canary"], "count": 1, "of": ["ann"], "including": ["eve"]}]},
            7,
            "including names eve, and of lets only these approve: ann",
        ),
        ({"roles": {"lead": []}}, 7, "roles.lead: empty: fill it in"),
        ({"endpoint": "ab"}, 2, "endpoint: string should have at least 3 characters, got 'ab'"),
        (
            {"freezes": [{"starts": 20261220, "ends": 20270104, "reason": "year end"}]},
            7,
            "freezes[0].starts: expected a date or a time such as 2026-12-20",
        ),
        (
            {"exceptions": [{"rule": "a", "reason": "b", "owner": "c", "expires": "2026"}]},
            10,
            "exceptions[0].expires: expected a date or a time such as 2026-12-20",
        ),
        ({"validation": {"min_correct_rate": 0.9}}, 6, "validation.file: missing"),
        ({"validation": {"file": "x.jsonl", "min_correct_rate": 0}}, 8, "min_correct_rate"),
    ],
)
def test_what_is_wrong_is_named_with_its_line(tmp_path, changes, line, message):
    """File, line, field, what was expected, what is there."""
    path = written(tmp_path, **changes)
    with pytest.raises(PolicyError) as error:
        read_policy(path)
    assert f"{path}:{line}: " in str(error.value)
    assert message in str(error.value)


def test_all_problems_are_named_at_once(tmp_path):
    """A person corrects a file once."""
    with pytest.raises(PolicyError) as error:
        read_policy(written(tmp_path, version=3, objectives={"max_p95_ms": -1}))
    assert len(str(error.value).splitlines()) == 2


def test_windows_freezes_and_approvals_may_concern_some_runbooks(tmp_path):
    """A rollback waits for no window and no freeze, unless one names it."""
    policy = read_policy(
        written(
            tmp_path,
            windows=[{"schedule": "0 9 * * 1-5", "duration_min": 60, "runbooks": ["canary"]}],
            freezes=[{"starts": "2026-12-20", "ends": "2027-01-04", "reason": "year end"}],
            approvals=[{"runbooks": ["canary", "deploy"], "count": 2, "of": ["a", "b", "c"]}],
        )
    )
    assert len(policy.windows_for("canary")) == 1
    assert policy.windows_for("rollback") == ()
    assert policy.freezes_for("rollback") == ()
    assert len(policy.freezes_for("scale")) == 1
    assert policy.approvals_for("deploy").count == 2
    assert policy.approvals_for("rollback") is None
    with_role = {"approvals": [{"runbooks": ["canary"], "count": 2, "of": ["lead"]}], "roles": {"lead": ["a", "b"]}}
    assert read_policy(written(tmp_path, **with_role)).approvals_for("canary").people({"lead": ("a", "b")}) == (
        "a",
        "b",
    )
    assert policy.freezes[0].ends == datetime(2027, 1, 4, tzinfo=UTC)


def test_a_policy_does_not_change():
    """It is read once, and every stage sees the same."""
    policy = Policy.model_validate(LEAST)
    with pytest.raises(ValueError, match="frozen"):
        policy.endpoint = "other"


def test_the_readmes_policy_is_valid(tmp_path):
    """What a user copies from the README is accepted."""
    readme = (Path(__file__).parents[3] / "README.md").read_text()
    (example,) = [block for block in re.findall(r"```yaml\n(.*?)```", readme, re.DOTALL) if "\nowner:" in block]
    path = tmp_path / "policy.yml"
    path.write_text(example)
    policy = read_policy(path)
    assert policy.approvals_for("canary").count == 2
    assert policy.settings("canary")["max_p95_ms"] == 250


def test_the_demos_policy_is_valid():
    """The practice folder's rules are accepted."""
    demo = Path(__file__).parents[3] / "opslib/demo/harborshield/policy.yml"
    assert read_policy(demo).settings("canary")["bake_s"] == 20
