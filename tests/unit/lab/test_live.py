"""The live view of a run: read from its journal alone, and what its buttons do."""

import math
import os
from datetime import UTC, datetime, timedelta

import pytest
from evidence_fixture import make_run, open_run
from IPython.core.displaypub import CapturingDisplayPublisher
from IPython.core.interactiveshell import InteractiveShell

from opslib.displayed import view
from opslib.errors import RecordError
from opslib.evidence.run import run_lock
from opslib.evidence.run.journal import Journal, JournalEvent, JournalTail
from opslib.evidence.run.record import read_record, write_record
from opslib.lab.live import MESSAGES, live
from opslib.model import Outcome
from opslib.runbooks.canary.operator_decision import DecisionRequest, read_answer

STEP = {"before": {"blue": 100}, "after": {"blue": 90, "green": 10}, "bake_s": 600.0}
PLAN = {"before": {"traffic": {"blue": 100}}, "steps": [STEP]}


def look(above=((20.0, 200), (40.0, 15), (80.0, 0))):
    """Requests of both versions: 3 of the canary's 100 failed, some were slower than 40 ms."""
    served = {"requests": 400, "failures": 0, "above": above}
    interval = {"source": "request log", "stable": served, "canary": served}
    counts = {"canary_bad": 3, "canary_n": 100, "stable_bad": 0, "stable_n": 100}
    line = {"source": "request log", "metrics": [{"name": "failures", **counts}]}
    details = {"log_evidence": 1.0, "log_threshold": math.log(20), "lines": [line]}
    verdict = {"decision": "continue", "reason": "Continue: evidence of harm 2.7, limit 20."}
    return {"verdict": verdict, "intervals": [interval, interval | {"source": "probes"}], "details": details}


@pytest.fixture
def run(tmp_path, monkeypatch):
    """A canary that another process runs."""
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path))
    folder, _ = open_run(tmp_path)
    journal = Journal(folder)
    for event, value in (
        (JournalEvent.PLAN, PLAN),
        (JournalEvent.APPLYING, STEP),
        (JournalEvent.NEXT_STAGE, None),
        (JournalEvent.LOOK, look()),
    ):
        journal.write(event, value)
    yield folder, journal
    run_lock.release(folder)


def test_it_shows_traffic_bounds_evidence_and_time_left(run):
    """What a person needs for a decision: counts with bounds, both latencies, evidence against its limit."""
    folder, _ = run
    shown = live().state._repr_mimebundle_()
    for form in shown.values():
        for text in (
            folder.name,
            "running",
            "1 of 1: blue=90 green=10",
            "10 min 0 s left",
            "2.7, limit 20",
            "3 of 100 (3 %), bounds 0.19 % to 12.3 %",
            "0 of 100, bounds 0 % to 5.7 %",
            "20 ms to 80 ms",
        ):
            assert text in form, (text, form)


def test_a_percentile_is_bounded_by_the_requests_since_the_latencies_changed(run):
    """Slow requests of the warm-up were counted at other latencies, and would bound it from below too high."""
    _, journal = run
    journal.write(JournalEvent.LOOK, look(((5.0, 200), (10.0, 15), (16.0, 0))))
    assert "5.0 ms to 16 ms" in str(live().state)
    assert "20 ms" not in str(live().state)


def test_it_reads_each_event_once_and_shows_the_latest_messages(run):
    """A journal of a long run is read as it grows, in pieces; an unfinished line waits for its end."""
    folder, journal = run
    shown = live(folder.name[-6:])
    for number in range(3 * MESSAGES):
        journal.write(JournalEvent.PROGRESS, f"message {number}")
    shown.refresh()
    assert [message.text for message in shown.state.progress.messages][-1] == f"message {3 * MESSAGES - 1}"
    assert len(shown.state.progress.messages) == MESSAGES
    assert shown.state.progress.counts["green"].requests == 100
    tail = JournalTail(folder, most_bytes=1)
    with journal.path.open("ab") as file:
        file.write(b'{"seq"')
    events = [event for _ in range(100) for event in tail.read()]
    assert [event["seq"] for event in events] == list(range(1, len(events) + 1))
    assert events[-1]["data"] == f"message {3 * MESSAGES - 1}"


def test_a_button_answers_as_the_command_does(run):
    """Refused with the reason where no answer is awaited, or none is given; else kept for the run."""
    folder, journal = run
    shown = live()
    shown.buttons["promote"].click()
    assert "refused: an answer needs a reason" in str(shown.state)
    shown.reason.value = "a client retried"
    shown.buttons["promote"].click()
    assert "waits for no answer now" in str(shown.state)
    until = datetime.now(UTC) + timedelta(seconds=300)
    journal.write(JournalEvent.ASKED, DecisionRequest("2026-01-01T00:00:00+00:00", "not proven", until))
    shown.buttons["extend"].click()
    given = read_answer(folder)
    assert (given.choice, given.reason) == ("extend", "a client retried")
    assert "answered extend, by " in view(shown.state).html
    assert "waits for an answer" in str(shown.state)
    journal.write(JournalEvent.ANSWERED, given)
    shown.refresh()
    assert "waits for an answer" not in str(shown.state)


def test_the_end_of_a_run_ends_the_view(run):
    """A sealed run has its outcome; one whose process died names the command that restores the traffic."""
    folder, _ = run
    shown = live()
    os.close(run_lock._DESCRIPTORS.pop(folder.name))  # as when its process dies
    shown.refresh()
    assert shown.state.ended
    assert shown.buttons["rollback"].disabled
    assert "its process died. `opslib recover` restores the traffic" in str(shown.state)
    shown.buttons["rollback"].click()
    sealed = live(make_run(folder.parents[1], reason="green takes all traffic"))
    assert sealed.state.state == "succeeded: green takes all traffic"


def test_without_a_run_it_waits_for_the_next_one(tmp_path, monkeypatch):
    """It can be opened before the run; a run that does not exist is refused."""
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path))
    shown = live()
    assert "no run is running" in str(shown.state)
    shown.buttons["promote"].click()
    assert "refused: no run is shown" in str(shown.state)
    folder, _ = open_run(tmp_path)
    shown.refresh()
    assert shown.state.run == folder.name
    write_record(folder, read_record(folder).ended(Outcome.REFUSED, "a blocker"))
    assert live().state.run == ""  # its kernel holds it until it ends, and executes nothing
    run_lock.release(folder)
    with pytest.raises(RecordError, match="no run in"):
        live("nonsense")


def test_a_cell_shows_buttons_and_an_output_that_needs_none(run, monkeypatch):
    """The state is an ordinary output, in place; the fields have a text for where no widgets are shown."""
    shell, published = InteractiveShell.instance(), CapturingDisplayPublisher()
    monkeypatch.setattr(shell, "display_pub", published)
    shown = live()
    shown._ipython_display_()
    shown.stop()
    run_lock.release(run[0])
    shown.refresh()
    first, second, *updates = published.outputs
    assert "opslib answer" in first["data"]["text/plain"]
    assert "application/vnd.jupyter.widget-view+json" in first["data"]
    assert "running" in second["data"]["text/plain"]
    assert {one["transient"]["display_id"] for one in updates} == {second["transient"]["display_id"]}
    InteractiveShell.clear_instance()
