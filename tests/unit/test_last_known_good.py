"""Where to roll back to, derived from what is recorded."""

from datetime import UTC, datetime

import pytest
from worlds import deployment, endpoint

from opslib.errors import PlanError
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.run.record import Record, write_record
from opslib.model import Outcome
from opslib.runbooks.last_known_good import choose_target, last_known_good

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ALL = (deployment("blue"), deployment("green"), deployment("amber"))


def record(runbook, before, outcome=Outcome.SUCCEEDED, **results):
    parameters = {"canary": results["canary"]} if "canary" in results else {}
    return Record("r", runbook, "fraud", parameters, NOW, outcome, traffic_before=before, results=results)


def test_after_a_promotion_it_is_what_served_before():
    """The canary took everything; the deployment before it is the known good one."""
    history = [record("scale", {"green": 100}), record("canary", {"blue": 100}, canary="green")]
    assert last_known_good(endpoint({"green": 100}, *ALL), history) == "blue"


def test_a_run_that_changed_no_traffic_names_no_target():
    """A dry run of the rollback itself read green at 90 %: green has lost nothing since, blue has."""
    now = endpoint({"green": 90, "blue": 10}, *ALL)
    history = [record("canary", {"blue": 100}, canary="green")]
    assert last_known_good(now, history) == "blue"
    dry_run = record("rollback", {"green": 90, "blue": 10}, Outcome.PLANNED)
    assert last_known_good(now, [dry_run, *history]) == "blue"


def test_in_the_middle_of_a_canary_that_was_killed_it_is_stable():
    """A run that never ended still recorded what served before it."""
    history = [record("canary", {"blue": 100}, None, canary="green")]
    assert last_known_good(endpoint({"blue": 90, "green": 10}, *ALL), history) == "blue"


def test_a_deployment_left_by_a_rollback_is_not_returned_to():
    """A second rollback does not bounce back to the version that was left."""
    history = [
        record("rollback", {"green": 100}, to="blue"),
        record("canary", {"blue": 100}, canary="green"),
        record("canary", {"amber": 100}, canary="blue"),
    ]
    assert last_known_good(endpoint({"blue": 100}, *ALL), history) == "amber"


def test_a_canary_that_was_given_up_is_not_good():
    """What was rolled back from under a canary is never the target."""
    history = [
        record("canary", {"blue": 100}, Outcome.ROLLED_BACK, canary="amber"),
        record("canary", {"amber": 100}, canary="blue"),
    ]
    with pytest.raises(PlanError, match="Name one: -p to=NAME"):
        last_known_good(endpoint({"blue": 100}, *ALL), history)


def test_a_deployment_that_is_gone_is_passed_over():
    """Only what exists and is ready can take the traffic."""
    history = [record("canary", {"blue": 100}, canary="green"), record("canary", {"amber": 100}, canary="blue")]
    now = endpoint({"green": 100}, deployment("green"), deployment("blue", "Failed"), deployment("amber"))
    assert last_known_good(now, history) == "amber"


def test_without_records_it_says_what_exists():
    """On a machine without the archive the error lists the deployments to choose from."""
    with pytest.raises(PlanError, match="fraud has: blue, green, amber"):
        last_known_good(endpoint({"green": 100}, *ALL), [])


def test_a_canary_that_only_waited_for_approval_is_still_good():
    """No request was served by it, so nothing is known against it."""
    history = [
        record("canary", {"blue": 100}, Outcome.WAITING, canary="amber"),
        record("canary", {"blue": 100}, Outcome.REFUSED, canary="amber"),
        record("canary", {"amber": 100}, canary="blue"),
    ]
    assert last_known_good(endpoint({"blue": 100}, *ALL), history) == "amber"


def test_the_names_of_versions_ignore_case():
    """As Azure's do: a person may name a canary otherwise than it is spelled."""
    history = [
        record("canary", {"blue": 100}, Outcome.ROLLED_BACK, canary="AMBER"),
        record("canary", {"amber": 100}, canary="blue"),
    ]
    with pytest.raises(PlanError, match="Name one: -p to=NAME"):
        last_known_good(endpoint({"blue": 100}, *ALL), history)


def test_it_is_looked_for_in_the_archive_of_the_run(tmp_path, monkeypatch):
    """Another one lies in this folder, of a workspace that has an endpoint of the same name."""
    for archive, stable in (("runs", "amber"), ("production", "blue")):
        earlier = new_folder(tmp_path / archive, "canary", "fraud")
        write_record(earlier, record("canary", {stable: 100}, canary="green"))
    monkeypatch.delenv("OPSLIB_RUNS", raising=False)
    monkeypatch.chdir(tmp_path)
    folder = new_folder(tmp_path / "production", "rollback", "fraud")
    assert choose_target("", endpoint({"green": 100}, *ALL), folder) == "blue"
