"""One endpoint of a wave runs once, whichever process is started for it and however often."""

import subprocess
import sys
from datetime import UTC, datetime, timedelta

import pytest
from waves import DIED, begin, row, seal_run, wave_of

from opslib.errors import PlanError
from opslib.evidence.run.record import ChangeRequest
from opslib.evidence.run.run_lock import archive_of, claimed, release
from opslib.fleet.archive import clear_stop, open_plan, request_stop, stop_request
from opslib.fleet.attempt import record_plan
from opslib.fleet.plan import make_plan
from opslib.model import Outcome
from opslib.runbooks.lease.tags import Lease
from opslib.runbooks.undo.reap import ReapedLease
from opslib.runner import wave_member
from opslib.runner.wave_member import run_member

TEXT = "version: 1\nname: december\nrunbook: rollback\nparameters: {to: blue}\n"


@pytest.fixture
def root(tmp_path, monkeypatch):
    """The first record of a wave of two endpoints."""
    monkeypatch.setattr("opslib.evidence.present.report.write_report", lambda *_: None)
    plan = make_plan(wave_of(TEXT), TEXT.encode(), [row(0), row(1)])
    return record_plan(tmp_path / "runs", plan, TEXT.encode(), "airflow", ChangeRequest())[0]


@pytest.fixture
def run(root, monkeypatch):
    """Runs the first endpoint with an outcome; returns the run, and how many were executed."""
    executed = []

    def run_first(outcome=Outcome.SUCCEEDED, attempt=0):
        def execute(runbook, given, archive, timeout_s, on_event, request):
            assert (runbook, given["endpoint"], request.wave_member) == ("rollback", "fraud-0", 1)
            executed.append(outcome)
            seal_run(root, 1, outcome)

        monkeypatch.setattr(wave_member, "execute", execute)
        plan = open_plan(root)
        return run_member(root, plan, plan.members[0], ChangeRequest(), attempt), len(executed)

    return run_first


def test_a_command_that_is_started_again_returns_the_run_that_is_there(run):
    """The number of the run decides: one that is there is not repeated, the next one is executed."""
    first, executed = run(attempt=1)
    assert executed == 1
    assert run(attempt=1) == (first, 1)
    assert run(attempt=2)[1] == 2


@pytest.mark.parametrize(
    ("outcome", "executed"),
    [
        (Outcome.SUCCEEDED, 1),
        (Outcome.ROLLED_BACK, 1),
        (Outcome.HELD, 1),
        (Outcome.WAITING, 2),
        (Outcome.REFUSED, 2),
        (DIED, 2),
    ],
)
def test_without_a_number_it_runs_again_where_something_is_left(run, outcome, executed):
    """A task of an engine that a person clears: waiting, refused and lost runs are repeated, others are not."""
    run(outcome)
    assert run()[1] == executed


def test_a_run_on_a_machine_whose_clock_is_behind_is_found(run, monkeypatch):
    """Its id begins with an earlier time than that of the wave. It is not executed a second time."""
    monkeypatch.setattr("opslib.evidence.archive.run_folders.datetime", Behind)
    first, _ = run(attempt=1)
    assert run(attempt=1) == (first, 1)


class Behind(datetime):
    """A clock that is an hour behind."""

    @classmethod
    def now(cls, tz=None):
        return datetime.now(tz) - timedelta(hours=1)


def test_a_stopped_wave_starts_nothing(run, root):
    """The request is read before each start."""
    request_stop(root, stop_request("ann", "incident"))
    with pytest.raises(PlanError, match="was stopped by ann: incident"):
        run()
    clear_stop(root)
    assert run()[1] == 1


def test_a_run_whose_process_died_is_given_back_by_its_lease_first(run, root, monkeypatch):
    """It waits until the lease has expired, seals the run as aborted, and reports it lost."""
    folder, _ = begin(root, 1)
    release(folder)
    lease = Lease(folder.name, "ann", {"blue": 100}, {"green": 100}, datetime.now(UTC))
    found = [[ReapedLease("fraud-0", lease, None, "held")], [ReapedLease("fraud-0", lease, Outcome.SUCCEEDED, "")]]
    waited: list[float] = []
    monkeypatch.setattr(wave_member, "connect", lambda _: None)
    monkeypatch.setattr(wave_member, "reap", lambda *_, **__: found.pop(0))
    monkeypatch.setattr(wave_member, "sleep", waited.append)
    lost, executed = run(attempt=1)
    assert (lost.record.run_id, lost.record.outcome, lost.lost, executed) == (folder.name, Outcome.ABORTED, True, 0)
    assert (waited, found) == ([1.0], [])


def test_two_processes_never_hold_one_member_at_once(root):
    """The second waits; another member is free."""
    archive = archive_of(root)
    hold = "import sys; from opslib.evidence.run.run_lock import claimed; from pathlib import Path\n"
    hold += f"with claimed(Path({str(archive)!r}), 'wave', int(sys.argv[1])): print('held', flush=True)"
    with claimed(archive, "wave", 1):
        second, other = (start([sys.executable, "-c", hold, str(number)]) for number in (1, 2))
        assert other.communicate()[0] == "held\n"
        with pytest.raises(subprocess.TimeoutExpired):
            second.communicate(timeout=0.2)
    assert second.communicate()[0] == "held\n"


def start(command):
    return subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
