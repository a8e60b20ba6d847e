"""The rollback runbook, executed by papermill against the sandbox."""

import json

from opslib.errors import OperationTimeout
from opslib.evidence.run.files import BEFORE, JOURNAL, NOTEBOOK
from opslib.evidence.run.journal import read_journal
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.steps.apply import apply


def test_verifies_by_users_where_no_probes_are_given(make_world):
    """Users' own requests prove the arrival, by the request log."""
    world = make_world(green={})
    world.route(green=100)
    with world.clients():
        _, record = world.run("rollback", to="blue", verify_requests=10, verify_s=30)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert "users' requests seen" in record.reason


def test_holds_where_nothing_can_verify_it(make_world):
    """The traffic is set; without an answer it is not called a success."""
    world = make_world(green={})
    world.route(green=100)
    _, record = world.run("rollback", to="blue", verify_requests=5, verify_s=2)
    assert record.outcome is Outcome.HELD
    assert world.read().traffic == {"blue": 100}


def test_holds_where_the_old_version_answers_wrongly(make_world):
    """Arriving is not enough: the answers must be the old version's."""
    world = make_world(green={})
    world.route(green=100)
    _, record = world.run("rollback", to="blue", probes=world.probes("blue", total=7), verify_s=2)
    assert record.outcome is Outcome.HELD
    assert '"sum": 7' in record.reason


def test_refuses_without_records_or_name_and_with_an_unknown_one(world):
    """Without a target and without the archive, the error lists the deployments."""
    _, record = world.run("rollback")
    assert record.outcome is Outcome.REFUSED
    assert "Name one: -p to=NAME" in record.reason
    _, record = world.run("rollback", to="violet")
    assert record.outcome is Outcome.REFUSED
    assert "deployment 'violet' does not exist" in record.reason


def test_moves_the_traffic_before_the_notebook_starts(make_world):
    """In an emergency seconds count: the runner moves first and verifies it, and the notebook records both."""
    world = make_world(green={})
    world.route(green=100)
    folder, record = world.run("rollback", to="blue", probes=world.probes("blue"), verify_requests=5)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    events = [line["event"] for line in read_journal(folder / JOURNAL)]
    assert events.index("applied") < events.index("opened")
    assert events.index("probes") < events.index("opened")
    assert events.count("applied") == events.count("probes") == 1
    assert record.traffic_before == {"green": 100}
    assert record.traffic_after == {"blue": 100}
    assert json.loads((folder / BEFORE).read_text())["endpoint"]["properties"]["traffic"] == {"green": 100}
    assert "before this notebook started" in (folder / NOTEBOOK).read_text()
    assert verify(folder.parents[1]).state is VerifyState.SOUND


def test_a_first_move_whose_end_was_not_seen_is_recorded_as_it_was(make_world, monkeypatch):
    """Azure accepted the request, and its operation could not be read: the notebook finds the traffic moved."""
    world = make_world(green={})
    world.route(green=100)

    def unseen(step, workspace, timeout_s, progress):
        apply(step, workspace, timeout_s, progress)
        raise OperationTimeout("the operation did not end within 5 s")

    monkeypatch.setattr("opslib.runbooks.first_move.apply", unseen)
    folder, record = world.run("rollback", to="blue", probes=world.probes("blue"), verify_requests=5)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert (record.traffic_before, record.traffic_after) == ({"green": 100}, {"blue": 100})
    assert record.rollback["undo"][0]["after"] == {"green": 100}
    assert json.loads((folder / BEFORE).read_text())["endpoint"]["properties"]["traffic"] == {"green": 100}
    events = [line["event"] for line in read_journal(folder / JOURNAL)]
    assert (events.count("applying"), events.count("applied")) == (2, 1)
