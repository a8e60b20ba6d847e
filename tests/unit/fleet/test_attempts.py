"""Attempts of a wave on an engine that seals runs without executing them: what is recorded, and what is left."""

import os
import re
import signal
from concurrent.futures import Future
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from waves import DIED, row, seal_run, wave_of

from opslib.cli.main import main
from opslib.errors import PlanError, RecordError
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.present.summary import summarize
from opslib.evidence.run.journal import read_journal
from opslib.evidence.run.record import Approval, ChangeRequest, read_record
from opslib.evidence.run.run_lock import release
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.fleet import attempt as attempts
from opslib.fleet.archive import find_wave, open_plan, request_stop, stop_request, wave_runs
from opslib.fleet.attempt import Attempt, AttemptEnd, record_plan
from opslib.fleet.engine import ProcessEnd
from opslib.fleet.plan import make_plan
from opslib.fleet.rules import decide
from opslib.fleet.states import resumed_state
from opslib.model import Outcome

DIED_BEFORE = "died before it began"
REFUSED = "refused before it began"
TEXT = """\
version: 1
name: december
runbook: rollback
parameters: {to: blue}
batches: [1, 100%]
max_concurrency: 2
"""


class Engine:
    """Seals a run for each command at once, with the outcome that comes next; None: the task is lost."""

    def __init__(self, archive: Path, *outcomes: Outcome | str | None) -> None:
        self.archive, self.outcomes, self.commands = archive, list(outcomes), list[list[str]]()

    def submit(self, command: list[str]) -> "Future[ProcessEnd]":
        future: Future[ProcessEnd] = Future()
        self.commands.append(command)
        outcome = self.outcomes.pop(0) if self.outcomes else Outcome.SUCCEEDED
        if outcome is None:
            future.set_exception(ConnectionError("the scheduler is gone"))
            return future
        if outcome not in {REFUSED, DIED_BEFORE}:
            seal_run(find_wave(self.archive, command[2]), int(command[3]), outcome)
        future.set_result(ProcessEnd(-9 if outcome == DIED_BEFORE else 2, str(outcome)))
        return future

    def interrupt(self) -> None: ...

    def close(self) -> None: ...


@pytest.fixture
def archive(tmp_path: Path) -> Path:
    return tmp_path / "runs"


@pytest.fixture
def run(archive: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs a wave of three endpoints, or what is left of it, with the outcomes of its runs."""
    monkeypatch.setattr("opslib.evidence.present.report.write_report", lambda *_: None)

    def run_wave(
        *outcomes, text=TEXT, root=None, watch=lambda *_: None, approvals=(), retry_failed=False, batch=0
    ) -> tuple[AttemptEnd, Engine]:
        engine = Engine(archive, *outcomes)
        monkeypatch.setattr(attempts, "open_engine", lambda *_: engine)
        plan = open_plan(root) if root else make_plan(wave_of(text), text.encode(), [row(n) for n in range(3)])
        request = ChangeRequest(approvals=approvals, signed=tuple(f"{one.who}\n" for one in approvals))
        attempt = Attempt(archive, plan, text.encode(), "local", request, ("--ticket=C",), batch)
        return attempt.run(watch, root, retry_failed=retry_failed), engine

    return run_wave


def test_the_record_names_every_run_with_its_seal(run, archive):
    """Order, runs, outcomes, who: sealed in the ledger like every run."""
    end, engine = run()
    assert (end.record.outcome, end.record.results) == (Outcome.SUCCEEDED, {"endpoints": 3, "succeeded": 3})
    assert end.record.reason == "3 of 3 endpoints succeeded, 0 failed, 0 left"
    assert engine.commands[0][:6] == ["fleet", "member", end.root.name, "1", "--run", "1"]
    assert engine.commands[0][-1] == "--ticket=C"
    events = [event for event in read_journal(end.folder / "journal.jsonl") if event["event"] == "member ended"]
    runs = wave_runs(end.root, open_plan(end.root))
    assert [event["data"]["seal_sha256"] for event in events] == [runs[n][0].seal_sha256 for n in (1, 2, 3)]
    found = verify(archive)
    assert (found.state, found.sealed) == (VerifyState.SOUND, 4)


def test_a_stopped_wave_is_resumed_with_exactly_what_is_left(run):
    """The failure of the first attempt stays; the others run once."""
    end, engine = run(Outcome.ROLLED_BACK)
    assert (end.record.outcome, len(engine.commands)) == (Outcome.FAILED, 1)
    assert "stopped by max_failures: 1 of 3 runs failed (fraud-0)" in end.record.reason
    again, engine = run(root=end.root)
    assert [command[3:6] for command in engine.commands] == [["2", "--run", "1"], ["3", "--run", "1"]]
    assert (again.record.outcome, again.record.wave) == (Outcome.SUCCEEDED, end.root.name)
    assert again.record.reason == "2 of 3 endpoints succeeded, 0 failed, 0 left"


def test_a_resumed_wave_repeats_failed_runs_only_where_it_must(run):
    """`--retry-failed` repeats what did not succeed, and nothing that did."""
    end, _ = run(Outcome.SUCCEEDED, Outcome.ROLLED_BACK, Outcome.FAILED)
    assert run(root=end.root)[1].commands == []
    again, engine = run(Outcome.ROLLED_BACK, root=end.root, retry_failed=True)
    assert [command[3:6] for command in engine.commands] == [["2", "--run", "2"], ["3", "--run", "2"]]
    assert again.record.results == {"endpoints": 3, "succeeded": 2, "rolled_back": 1}
    assert again.record.outcome is Outcome.FAILED


def test_a_wave_that_is_run_batch_by_batch_has_the_limits_of_one_run(run):
    """As jobs of Azure ML run it: what failed in the batches before counts, until a rule stops the wave."""
    text = TEXT.replace("[1, 100%]", "[1]") + "max_failures: 1\n"
    end, _ = run(Outcome.ROLLED_BACK, text=text, batch=1)
    assert end.record.outcome is Outcome.SUCCEEDED
    again, engine = run(Outcome.ROLLED_BACK, text=text, root=end.root, batch=2)
    assert [command[3] for command in engine.commands] == ["2"]
    assert again.record.outcome is Outcome.FAILED
    assert "2 of 3 runs failed (fraud-0, fraud-1); at most 1 may" in again.record.reason
    last, engine = run(Outcome.ROLLED_BACK, text=text, root=end.root)  # by a person, who has seen that
    assert ([command[3] for command in engine.commands], last.record.outcome) == (["3"], Outcome.SUCCEEDED)


def test_a_wave_that_is_continued_waits_for_its_pause(run):
    """The pause is one between two batches, whatever ran the first one; within a batch there is none."""
    text = TEXT + "pause_s: 600\n"
    root = run(text=text, batch=1)[0].root
    plan = open_plan(root)
    ended = wave_runs(root, plan)[1][0].record.finished_at
    waits = decide(resumed_state(plan, wave_runs(root, plan)), datetime.now(UTC))
    assert (waits.start, waits.pause_until) == ((), ended + timedelta(seconds=600))
    seal_run(root, 2, Outcome.SUCCEEDED)
    begun = decide(resumed_state(plan, wave_runs(root, plan)), datetime.now(UTC))
    assert [member.number for member in begun.start] == [3]


def test_a_person_stops_a_wave_and_the_record_says_who(run, archive):
    """What runs ends; the rest is left, and a resume removes the request."""

    def stop(_, text):
        if "succeeded" in text:
            request_stop(find_wave(archive, "december"), stop_request("ann", "an incident"))

    end, engine = run(watch=stop)
    assert (end.record.outcome, len(engine.commands)) == (Outcome.HELD, 1)
    assert "stopped by request: ann: an incident" in end.record.reason
    assert run(root=end.root)[0].record.outcome is Outcome.SUCCEEDED


@pytest.mark.parametrize(
    ("outcomes", "numbers", "outcome"),
    [
        ((DIED,), ["1 1", "1 2", "2 1", "3 1"], Outcome.SUCCEEDED),  # repeated once
        ((DIED, DIED), ["1 1", "1 2"], Outcome.FAILED),
        ((DIED_BEFORE,), ["1 1", "1 1", "2 1", "3 1"], Outcome.SUCCEEDED),  # it left no run
        ((REFUSED,), ["1 1"], Outcome.FAILED),
        ((None,), ["1 1"], Outcome.ABORTED),
        ((Outcome.WAITING,), ["1 1"], Outcome.WAITING),
    ],
)
def test_what_a_run_that_did_not_end_well_leaves(run, outcomes, numbers, outcome):
    """Each command has the endpoint and which of its runs it is; a resume continues from there."""
    end, engine = run(*outcomes)
    assert [f"{command[3]} {command[5]}" for command in engine.commands] == numbers
    assert end.record.outcome is outcome
    if outcome in {Outcome.ABORTED, Outcome.WAITING}:
        _, engine = run(root=end.root)
        first = "1 2" if outcome is Outcome.WAITING else "1 1"
        assert [f"{command[3]} {command[5]}" for command in engine.commands] == [first, "2 1", "3 1"]


def test_a_wave_waits_for_the_approval_of_its_plan(run):
    """The digest that people approve is that of the plan, which stays the same."""
    text = TEXT + "approvals: {count: 1}\n"
    end, engine = run(text=text)
    assert (end.record.outcome, engine.commands) == (Outcome.WAITING, [])
    assert f"opslib approve {end.root.name}" in end.record.reason
    now = datetime.now(UTC).isoformat()
    other, given = (Approval("ann", now, "", digest, now, "key") for digest in ("0" * 64, end.record.plan_sha256))
    assert run(text=text, root=end.root, approvals=(other,))[0].record.outcome is Outcome.WAITING
    assert run(text=text, root=end.root, approvals=(given,))[0].record.outcome is Outcome.SUCCEEDED


def test_a_wave_is_found_by_its_name_beside_an_endpoint_of_that_name(run, archive):
    """The latest record counts, and no run of an endpoint whose name ends like it."""
    end, _ = run()
    new_folder(archive, "rollback", "wave-december")
    assert find_wave(archive, "december") == end.root
    with pytest.raises(RecordError, match=r"no run in .* matches it"):
        find_wave(archive, "dec?mber")


def test_an_attempt_whose_process_died_is_sealed_by_the_next(run, archive, monkeypatch):
    """A second one beside it is refused."""
    with monkeypatch.context() as patch:
        patch.setattr("opslib.fleet.attempt.Drive.run", raise_interrupt)
        with pytest.raises(KeyboardInterrupt):
            run()
    root = find_wave(archive, "december")
    with pytest.raises(PlanError, match="is running"):
        run(root=root)
    release(root)
    assert run(root=root)[0].record.outcome is Outcome.SUCCEEDED
    assert read_record(root).outcome is Outcome.ABORTED


def test_the_first_signal_starts_nothing_more_and_the_second_interrupts(run, archive, monkeypatch):
    """The wave is aborted, what is left is resumed, and the summary names what ended and what stopped it."""
    interrupted = []
    monkeypatch.setattr(Engine, "interrupt", lambda _: interrupted.append(True))
    end, engine = run(watch=lambda *_: os.kill(os.getpid(), signal.SIGTERM))
    assert (end.record.outcome, len(engine.commands)) == (Outcome.ABORTED, 1)
    assert "stopped by signal: SIGTERM" in end.record.reason
    assert interrupted
    summary = summarize(end.folder)
    assert re.search(r"fraud-0 succeeded: as planned \(\d+T\d+Z-rollback-fraud-0-\w+\)", summary)
    assert "stopped by signal: SIGTERM" in summary


def raise_interrupt(*_):
    raise KeyboardInterrupt


def test_gates_decide_for_an_engine_that_starts_groups_by_itself(archive, monkeypatch, capsys):
    """A gate opens when all runs before are there and no rule stops; the last task seals the wave's end."""
    monkeypatch.setattr("opslib.evidence.present.report.write_report", lambda *_: None)
    plan = make_plan(wave_of(TEXT), TEXT.encode(), [row(n) for n in range(3)])
    root, record = record_plan(archive, plan, TEXT.encode(), "airflow", ChangeRequest())
    assert record.outcome is Outcome.PLANNED
    options = [root.name, "--runs", str(archive)]

    def gate(batch):
        return main(["fleet", "gate", *options, "--batch", str(batch), "--group", "1"])

    assert (gate(1), gate(2)) == (0, Outcome.HELD.exit_code)
    assert "fraud-0 of the groups before have no run" in capsys.readouterr().err
    seal_run(root, 1, Outcome.SUCCEEDED)
    assert gate(2) == 0
    assert main(["fleet", "end", *options]) == Outcome.HELD.exit_code
    seal_run(root, 2, Outcome.ROLLED_BACK)
    assert gate(2) == Outcome.FAILED.exit_code
    assert main(["fleet", "end", *options]) == Outcome.FAILED.exit_code
    assert main(["fleet", "stop", "december", "--runs", str(archive), "--reason", "incident"]) == 0
    assert gate(2) == Outcome.HELD.exit_code
