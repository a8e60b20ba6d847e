"""However a run ends, it is never taken for a success, and no canary keeps traffic."""

import os
import signal
import time
from typing import Any

import nbformat
import pytest
from awaiting import wait_until
from prepared_opslib import start_opslib
from run_processes import kernels_of
from runbook_world import Background, journal

from opslib.errors import PreflightError
from opslib.evidence.run.record import read_record
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease
from opslib.runner.fork_server import ForkServer
from opslib.runner.notebooks import find_notebook

LONG: dict[str, Any] = {"bake_s": 60, "max_bake_s": 60, "min_requests": 20, "stages": [50, 100]}


def kernel_of(folder):
    """Return the process id of the kernel that writes into a run's folder."""
    return kernels_of(folder)[0]


@pytest.fixture
def canary(make_world):
    """A canary that runs until something ends it."""
    return Background(make_world(green={}), **LONG)


def test_a_killed_kernel_aborts_and_the_runner_returns_the_traffic(canary):
    """papermill alone would report this notebook as completed."""
    canary.await_bake()
    os.kill(kernel_of(canary.folder), signal.SIGKILL)
    folder, record = canary.result()
    assert record.outcome is Outcome.ABORTED
    assert "traffic was restored: blue=100" in record.reason
    assert canary.world.read().traffic == {"blue": 100}
    assert len(journal(folder, "undone")) == 1


def test_a_kernel_that_hangs_is_killed_and_the_runner_returns_the_traffic(make_world, monkeypatch):
    """A kernel that is inactive while its canary takes traffic is killed after the lease."""
    monkeypatch.setattr("opslib.runner.execute.MIN_HANG_TIMEOUT_S", 5.0)
    canary = Background(make_world(green={}), **LONG, lease_s=5)
    canary.await_bake()
    os.kill(kernel_of(canary.folder), signal.SIGSTOP)
    _, record = canary.result()
    assert record.outcome is Outcome.ABORTED
    assert "the kernel hung" in record.reason
    assert canary.world.read().traffic == {"blue": 100}


def test_a_run_that_takes_too_long_is_interrupted_and_undoes_itself(make_world, monkeypatch):
    """The whole run has a time limit; the kernel's own undo runs before it ends."""
    canary = Background(make_world(green={}), **LONG, timeout_s=3600.0)
    canary.await_bake()
    monkeypatch.setattr("opslib.runner.watch.monotonic", lambda: time.monotonic() + 3600)
    folder, record = canary.result()
    assert record.outcome is Outcome.ABORTED
    assert "did not end within 3600 s" in record.reason
    assert canary.world.read().traffic == {"blue": 100}
    assert len(journal(folder, "undone")) == 1


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_signal_to_the_runner_ends_the_run_in_order(make_world, signum):
    """A cancelled pipeline and Ctrl-C: traffic back, exit code 5, record aborted."""
    world = make_world(green={})
    parameters = {"endpoint": world.name, "canary": "green", **LONG}
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    words = ("run", "canary", "--runs", str(world.runs), *given)
    process = start_opslib(*words, folder=world.folder, output=world.folder / "output.txt")
    wait_until(lambda: world.read().traffic == {"blue": 50, "green": 50})
    process.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 5, output
    assert signum.name in output
    record = read_record(next(world.runs.glob("2*/*")))
    assert record.outcome is Outcome.ABORTED
    assert world.read().traffic == {"blue": 100}


def test_traffic_that_was_changed_meanwhile_is_not_overwritten(canary):
    """The undo never overwrites a state that the run did not make; the reason reports it."""
    canary.await_bake()
    canary.world.route(blue=30, green=70)
    os.kill(kernel_of(canary.folder), signal.SIGKILL)
    _, record = canary.result()
    assert record.outcome is Outcome.ABORTED
    assert "UNDO FAILED: check the endpoint now" in record.reason
    assert canary.world.read().traffic == {"blue": 30, "green": 70}


@pytest.mark.parametrize(
    ("cell", "outcome", "message"),
    [
        ("import sys; sys.exit(0)", Outcome.FAILED, "SystemExit"),
        ("1 / 0", Outcome.FAILED, "ZeroDivisionError"),
        ("raise KeyboardInterrupt", Outcome.ABORTED, "KeyboardInterrupt"),
    ],
)
def test_a_cell_that_ends_the_notebook_early_is_not_a_success(world, monkeypatch, cell, outcome, message):
    """For papermill sys.exit(0) is a success; here every cell must run and the record must have an outcome."""
    notebook = nbformat.read(find_notebook("deploy"), as_version=4)
    place = next(n for n, c in enumerate(notebook.cells) if "plan" in c.metadata.get("tags", []))
    notebook.cells.insert(place, nbformat.v4.new_code_cell(cell))
    (world.folder / "notebooks").mkdir()
    nbformat.write(notebook, world.folder / "notebooks" / "deploy.ipynb")
    monkeypatch.chdir(world.folder)
    _, record = world.run("deploy", definition=world.definition("green"))
    assert record.outcome is outcome, record.reason
    assert message in record.reason
    assert world.read().find("green") is None


STOPPABLE = {"opslib.runner.execute.MIN_HANG_TIMEOUT_S": 3.0, "opslib.runner.guardian.HANG_MARGIN_S": 1.0}


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP])
def test_a_kernel_that_ends_while_its_runner_is_stopped_does_not_leave_its_canary(make_world, signum):
    """A stopped runner (Ctrl-Z) watches no kernel: the guardian returns the traffic, the runner seals later."""
    world = make_world(green={})
    parameters = {"endpoint": world.name, "canary": "green", **LONG, "lease_s": 3}
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    words = ("run", "canary", "--runs", str(world.runs), *given)
    runner = start_opslib(*words, folder=world.folder, settings=STOPPABLE)
    wait_until(lambda: world.read().traffic == {"blue": 50, "green": 50}, within_s=60)
    folder = next(world.runs.glob("2*/*"))
    os.kill(runner.pid, signal.SIGSTOP)
    os.kill(kernel_of(folder), signum)
    wait_until(lambda: world.read().traffic == {"blue": 100}, within_s=60)
    wait_until(lambda: read_lease(world.read().tags) is None)
    os.kill(runner.pid, signal.SIGCONT)
    assert runner.wait(60) == Outcome.ABORTED.exit_code
    assert verify(world.runs).findings == ()


def test_two_canaries_of_one_process_end_independently(make_world):
    """The kernel of one dies; the other's continues, and keeps its guardian and its lease."""
    one, other = (Background(make_world(green={}), **LONG) for _ in range(2))
    one.await_bake()
    other.await_bake()
    os.kill(kernel_of(one.folder), signal.SIGKILL)
    _, record = one.result()
    assert (record.outcome, one.world.read().traffic) == (Outcome.ABORTED, {"blue": 100})
    assert other.world.read().traffic == {"blue": 50, "green": 50}
    assert read_lease(other.world.read().tags) is not None
    os.kill(kernel_of(other.folder), signal.SIGKILL)
    _, record = other.result()
    assert (record.outcome, other.world.read().traffic) == (Outcome.ABORTED, {"blue": 100})
    assert verify(one.world.runs).findings == ()


def test_a_canary_without_a_guardian_is_not_started(make_world, monkeypatch):
    """Its traffic would not be returned: refused, with nothing changed and nothing in the ledger."""
    world = make_world(green={})
    dead = ForkServer.spawned()
    dead.close()
    monkeypatch.setattr("opslib.runner.guardian.fork_server", lambda: dead)
    with pytest.raises(PreflightError, match="no guardian"):
        world.run("canary", canary="green", **LONG)
    assert world.read().traffic == {"blue": 100}
    assert not list(world.runs.glob("LEDGER*"))
