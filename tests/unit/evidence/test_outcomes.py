"""The runner records how a notebook ended, in every case: outcome, exit code, ledger, seal; papermill does not.

The cases are those in which papermill alone writes "completed" or leaves nothing to read.
"""

import errno
import itertools
import json
import os
import pkgutil
import shlex
import signal
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from awaiting import wait_until
from evidence_fixture import contents, make_run
from jupyter_client.kernelspec import get_kernel_spec
from notebook_fixture import RECORD, outputs, write_runbook
from prepared_opslib import start_opslib
from small_disk import small_disk

from opslib.cli.main import main
from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.finish import begin_run
from opslib.evidence.run import notebook as notebooks
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import LOCKS
from opslib.evidence.run.journal import Heartbeat
from opslib.evidence.run.provenance import find_commit
from opslib.evidence.run.record import Approval, ChangeRequest, read_record, write_atomically
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runner import concluding
from opslib.runner.execute import execute

KILL = "import os, signal; os.kill(os.getpid(), signal.SIGKILL)"
SAID = """
import os, pathlib, time
from opslib.evidence.run.journal import Journal, JournalEvent
for n in range(3):
    Journal(pathlib.Path(os.environ["OPSLIB_RUN_FOLDER"])).write(JournalEvent.PROGRESS, f"step {n}")
    time.sleep(0.3)
"""
"""Reports progress while the runner watches."""

HANG = "import time\nfor _ in range(600): time.sleep(0.1)"
STUBBORN = "import time\ntry:\n    time.sleep(60)\nexcept KeyboardInterrupt:\n    print('never mind')"

CASES = {
    "reaches its end": ([RECORD], Outcome.SUCCEEDED, "", ""),
    "a cell raises": (["1 / 0", RECORD], Outcome.FAILED, "ZeroDivisionError", "step0"),
    "a cell raises after the record": ([RECORD, "1 / 0"], Outcome.FAILED, "ZeroDivisionError", "step1"),
    "the kernel is killed": ([KILL, RECORD], Outcome.ABORTED, "DeadKernelError", "step0"),
    "the kernel is killed in the last cell": ([RECORD, KILL], Outcome.ABORTED, "DeadKernelError", "step1"),
    "it hangs": ([HANG, RECORD], Outcome.ABORTED, "did not end within 3 s", "step0"),
    "it catches the interrupt": ([STUBBORN, RECORD], Outcome.ABORTED, "did not end within 3 s", ""),
    "sys.exit(0)": (["import sys; sys.exit(0)", RECORD], Outcome.FAILED, "stopped early", "step0"),
    "sys.exit(0) after the record": (
        [RECORD, "import sys; sys.exit(0)", "1"],
        Outcome.FAILED,
        "stopped early",
        "step1",
    ),
    "it records nothing": (["1 + 1"], Outcome.FAILED, "without recording an outcome", ""),
}


@pytest.fixture(autouse=True)
def _here(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)


@pytest.mark.parametrize("case", CASES)
def test_the_runner_says_truly_how_it_ended(case, tmp_path):
    """Outcome, reason, exit code, failing cell, ledger and seal agree; the notebook can be read."""
    cells, outcome, said, cell = CASES[case]
    write_runbook(tmp_path, *cells)
    folder, record = execute(
        "rollback", {"endpoint": "fraud"}, tmp_path / "runs", timeout_s=3.0 if "3 s" in said else 60
    )
    assert record.outcome is outcome, record.reason
    assert said in record.reason
    assert record.exit_code == outcome.exit_code
    assert cell in record.failing_cell
    assert read_record(folder) == record
    assert [e.outcome for e in ledger.read_ledger(tmp_path / "runs")] == ["", outcome]
    assert verify(tmp_path / "runs").state is VerifyState.SOUND
    assert nbformat.read(folder / "notebook.ipynb", as_version=4).cells
    assert (folder / "report.html").read_text().startswith("<!DOCTYPE html>")


def test_an_expected_exception_is_still_no_success(tmp_path):
    """The tag ``raises-exception`` lets papermill go on; the run has an error in it all the same."""
    write_runbook(tmp_path, "1 / 0", RECORD, tags=("raises-exception",))
    _, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert record.outcome is Outcome.FAILED


def test_an_unknown_parameter_leaves_nothing(tmp_path, capsys):
    """Refused before a kernel is started: exit code 2, no folder, no line in the ledger."""
    write_runbook(tmp_path, RECORD)
    assert main(["run", "rollback", "-p", "endpoint=fraud", "-p", "endpiont=x"]) == 2
    assert "endpiont: unknown" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def test_a_run_that_nobody_could_seal_is_not_begun(tmp_path, monkeypatch, capsys):
    """A signing key that is not there is found out before, not after, the change."""
    monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(tmp_path / "nowhere.pem"))
    write_runbook(tmp_path, RECORD)
    assert main(["run", "rollback", "-p", "endpoint=fraud"]) == 2
    assert "nowhere.pem" in capsys.readouterr().err
    assert not (tmp_path / "runs").exists()


def start(tmp_path):
    """A runner in a process of its own, whose notebook hangs."""
    write_runbook(tmp_path, "print('I hang', flush=True)\n" + HANG, RECORD)
    words = ("run", "rollback", "-p", "endpoint=fraud", "--runs", "runs")
    process = start_opslib(*words, folder=tmp_path, output=tmp_path / "output.txt")
    wait_until(lambda: list((tmp_path / "runs").glob("2*/*/notebook.ipynb")))
    (folder,) = (tmp_path / "runs").glob("2*/*")
    wait_until(lambda: '"start_time"' in (folder / "notebook.ipynb").read_text().split("I hang")[0])
    return process, folder


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT])
def test_a_stopped_runner_ends_its_run_in_order(tmp_path, signum):
    """A cancelled pipeline and Ctrl-C: exit code 5, aborted, sealed."""
    process, folder = start(tmp_path)
    process.send_signal(signum)
    output, _ = process.communicate(timeout=60)
    assert process.returncode == 5, output
    record = read_record(folder)
    assert record.outcome is Outcome.ABORTED
    assert signum.name in record.reason
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


@pytest.mark.parametrize("times", [1, 2])
def test_a_run_that_is_stopped_as_it_begins_ends_in_order(tmp_path, monkeypatch, times):
    """It is in the ledger, and its notebook does not run yet; a second signal breaks it off, which is seen."""

    def begin_stopped(*given):
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGINT)
        return begin_run(*given)

    monkeypatch.setattr("opslib.runner.execute.begin_run", begin_stopped)
    write_runbook(tmp_path, RECORD)
    code = main(["run", "rollback", "-p", "endpoint=fraud", "--runs", "runs"])
    assert code == Outcome.ABORTED.exit_code
    if times == 1:
        (folder,) = (tmp_path / "runs").glob("2*/*")
        assert "SIGINT" in read_record(folder).reason
        assert verify(tmp_path / "runs").state is VerifyState.SOUND
    assert signal.getsignal(signal.SIGINT) is signal.default_int_handler


@pytest.mark.parametrize(("times", "code", "state"), [(1, 0, VerifyState.SOUND), (2, 5, VerifyState.INCOMPLETE)])
def test_a_signal_while_a_run_is_sealed_changes_nothing(tmp_path, monkeypatch, times, code, state):
    """What was executed ended as it did; a second signal breaks off, as where a receiver of notices hangs."""

    def notify_stopped(*_given):
        for _ in range(times):
            os.kill(os.getpid(), signal.SIGTERM)

    monkeypatch.setattr(concluding, "notify_end", notify_stopped)
    write_runbook(tmp_path, RECORD)
    assert main(["run", "rollback", "-p", "endpoint=fraud", "--runs", "runs"]) == code
    assert verify(tmp_path / "runs").state is state


@pytest.mark.parametrize("closed", [1, 2])
def test_a_closed_output_is_no_reason_to_end(tmp_path, closed):
    """Also where the reader of a pipe has gone: the run goes on, and its exit code is its own."""
    write_runbook(tmp_path, SAID, RECORD)
    command = [sys.executable, "-m", "opslib", "run", "rollback", "-p", "endpoint=fraud", "--runs", "runs"]
    shell = f"{shlex.join(command)} {closed}>&-"
    done = subprocess.run(["bash", "-c", shell], cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, "Traceback" in done.stderr) == (0, False), done.stderr
    reading, writing = os.pipe()
    os.close(reading)
    assert subprocess.run(command, cwd=tmp_path, stdout=writing, stderr=writing, check=False).returncode == 0
    os.close(writing)
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


def test_a_killed_runner_leaves_an_open_run_that_everybody_sees(tmp_path, capsys):
    """Started and never finished: listed as incomplete, verified as incomplete (2), until it is ended."""
    process, folder = start(tmp_path)
    assert run_lock.is_held(folder)
    process.kill()
    process.communicate(timeout=60)
    runs = tmp_path / "runs"
    assert [e.event for e in ledger.read_ledger(runs)] == [ledger.STARTED]
    assert main(["runs", "--runs", "runs"]) == 0
    assert capsys.readouterr().out.startswith("incomplete ")
    assert main(["verify", "--runs", "runs"]) == 2
    assert "opslib seal" in capsys.readouterr().out
    assert main(["seal", folder.name, "--runs", "runs"]) == 0
    assert read_record(folder).outcome is Outcome.ABORTED
    assert main(["verify", "--runs", "runs"]) == 0


def test_a_full_disk_keeps_the_last_good_notebook(tmp_path, monkeypatch):
    """papermill's own writer would leave half a file of an operation that was already done."""
    write_runbook(tmp_path, "print('done')", "2", RECORD)
    real, saves = write_atomically, iter(range(1000))

    def fills_up(path, content, **kwargs):
        if next(saves) > 4:
            raise RecordError(f"{path} cannot be written: {OSError(errno.ENOSPC, 'No space left on device')}")
        real(path, content, **kwargs)

    monkeypatch.setattr(notebooks, "write_atomically", fills_up)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert record.outcome is Outcome.FAILED
    assert "No space left" in record.reason
    assert "done" in outputs(folder)
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


JOURNAL = """
import os, pathlib, sys
sys.path.insert(0, {tests!r})
from small_disk import SmallDisk
from opslib.evidence.run.journal import Journal
folder = pathlib.Path(os.environ["OPSLIB_RUN_FOLDER"])
journal = Journal(folder)
journal.write("progress", "before")
SmallDisk(folder.parents[1]).fill()
journal.write("progress", "after " + "x" * 5000)
"""

WRITERS = {
    "notebook": ("opslib.evidence.run.notebook.write_atomically", "notebook.ipynb", 5),
    "journal": ("", "journal.jsonl", 0),
    "record": ("opslib.evidence.run.record.write_atomically", "run.json", 2),
    "report": ("opslib.evidence.present.report.write_atomically", "report.html", 0),
    "seal": ("opslib.evidence.signing.seal.write_atomically", "attestation.dsse.json", 0),
    "ledger": ("opslib.evidence.archive.ledger._write", "LEDGER.jsonl", 1),
    "checkpoint": ("opslib.evidence.archive.checkpoints.write_atomically", ".dsse.json", 0),
}
"""Who writes what, and how often before the disk is full."""


@pytest.mark.parametrize("writer", WRITERS)
def test_a_disk_that_is_really_full_destroys_nothing(tmp_path, monkeypatch, capsys, writer):
    """It fills up just before each writer in turn: exit code 1, nothing lost, and sound once there is room."""
    monkeypatch.setattr(run_lock, "RESERVE_BYTES", 0)
    with small_disk(tmp_path / "runs") as disk:
        sealed = make_run(disk.path)
        before = contents(sealed)
        code, folder = run_on(disk, writer, monkeypatch, tmp_path)
        assert code == Outcome.FAILED.exit_code
        assert "cannot be written: " in capsys.readouterr().err
        assert "done" in outputs(folder)
        assert read_record(folder).runbook == "rollback"
        assert verify(disk.path).state is VerifyState.INCOMPLETE
        disk.free()
        assert main(["seal", folder.name, "--runs", str(disk.path)]) == 0
        assert verify(disk.path).findings == ()
        assert contents(sealed) == before


def test_a_record_without_provenance_does_not_stop_a_run(tmp_path, monkeypatch):
    """A rollback may have moved the traffic by then: its notebook must record it."""
    write_runbook(tmp_path, "print('done')", RECORD)

    def refuse(*_):
        raise RecordError("run.json cannot be written: No space left on device")

    monkeypatch.setattr(concluding, "write_record", refuse)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert record.outcome is Outcome.SUCCEEDED
    assert "done" in outputs(folder)


@pytest.mark.parametrize("writer", ["notebook", "journal"])
def test_what_was_set_aside_is_enough_to_end_the_run_on_a_full_disk(tmp_path, monkeypatch, writer):
    """The disk is full until the end: the run is sealed all the same, failed, with the reason."""
    with small_disk(tmp_path / "runs") as disk:
        code, folder = run_on(disk, writer, monkeypatch, tmp_path)
        assert code == Outcome.FAILED.exit_code
        assert read_record(folder).outcome is Outcome.FAILED
        assert "No space left" in read_record(folder).reason
        assert verify(disk.path).findings == ()


def test_a_run_on_a_full_disk_is_not_begun(tmp_path, monkeypatch, capsys):
    """No room for its end: nothing is begun, no line is written."""
    write_runbook(tmp_path, RECORD)
    with small_disk(tmp_path / "runs", "2m") as disk:
        assert main(["run", "rollback", "-p", "endpoint=fraud", "--runs", str(disk.path)]) == 1
        assert "is full: the end of a run needs 4 MiB" in capsys.readouterr().err
        assert not (disk.path / "LEDGER.jsonl").exists()
        assert not list((disk.path / LOCKS).iterdir())


def run_on(disk, writer, monkeypatch, tmp_path):
    """Run a notebook whose disk fills up before a writer."""
    place, name, spared = WRITERS[writer]
    fills = JOURNAL.format(tests=str(Path(__file__).parents[2])) if writer == "journal" else "print('on')"
    write_runbook(tmp_path, "print('done')", fills, RECORD)
    with monkeypatch.context() as patch:
        if place:
            fill_before(patch, place, name, spared, disk)
        code = main(["run", "rollback", "-p", "endpoint=fraud", "--runs", str(disk.path)])
    return code, next(disk.path.glob("2*/*-rollback-*"))


def fill_before(monkeypatch, place, name, spared, disk):
    """Let the disk fill up at a writer's next call, after so many that were spared."""
    real, calls = pkgutil.resolve_name(place), itertools.count()

    def guarded(path, *args, **kwargs):
        where = name if isinstance(path, int) else path.name
        if where.endswith(name) and next(calls) == spared:
            disk.fill()
        return real(path, *args, **kwargs)

    monkeypatch.setattr(place, guarded)


def test_the_notebook_names_its_kernel_as_installed(tmp_path):
    """JupyterLab rewrites an opened file whose kernel has another name than the installed one."""
    write_runbook(tmp_path, RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    nbformat.validate(nbformat.read(folder / "notebook.ipynb", as_version=4))
    seen = json.loads((folder / "notebook.ipynb").read_text())["metadata"]
    assert seen["kernelspec"]["display_name"] == get_kernel_spec("python3").display_name == record.kernel
    assert seen["papermill"]["output_path"] == str(folder / "notebook.ipynb")


def test_the_record_holds_what_a_change_record_needs(tmp_path):
    """Requester, approvals, executor, commit, versions and line in the ledger are recorded."""
    path = write_runbook(tmp_path, RECORD)
    for words in (
        ["init", "-q"],
        ["add", "."],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    path.write_text(path.read_text() + "\n")
    request = ChangeRequest(
        "CHG-1", "oncall", emergency=True, approvals=(Approval("owner", "2026-01-01", "I agree", "0" * 64),)
    )
    archive = tmp_path / "runs"
    first, _ = execute("rollback", {"endpoint": "fraud", "reason": "v2 is out"}, archive, request=request)
    _, record = execute("rollback", {"endpoint": "fraud"}, archive)
    told = read_record(first)
    assert (told.ticket, told.requester, told.emergency, told.approvals) == (
        "CHG-1",
        "oncall",
        True,
        request.approvals,
    )
    assert told.parameters["reason"] == "v2 is out"
    assert len(told.commit) == 40
    assert told.dirty is True
    assert told.executor["user"]
    assert told.host
    assert {"python", "opslib", "papermill"} <= told.versions.keys()
    assert (told.seq, record.seq) == (1, 3)
    assert record.previous_sha256 == list(ledger.read_ledger(archive))[1].sha256
    assert record.rollback["previous_run"] == told.run_id
    assert len(told.notebook_sha256) == 64


def test_a_notebook_that_git_does_not_track_has_no_commit(tmp_path):
    """A repository around it, such as the one that a virtual environment lies in, has another version or none."""
    path = write_runbook(tmp_path, RECORD)
    for words in (
        ["init", "-q"],
        ["-c", "user.name=a", "-c", "user.email=a@b", "commit", "-qm", "x", "--allow-empty"],
    ):
        subprocess.run(["git", *words], cwd=tmp_path, check=True)
    assert find_commit(path) == ("", None)


def test_the_kernel_never_has_the_signing_key(tmp_path, monkeypatch):
    """Its code is what the key attests: the variables are not handed on."""
    monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(tmp_path / "key.pem"))
    subprocess.run(["openssl", "genpkey", "-algorithm", "ed25519", "-out", tmp_path / "key.pem"], check=True)
    write_runbook(tmp_path, "import os; print([n for n in os.environ if 'SIGNING' in n])", RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert record.outcome is Outcome.SUCCEEDED
    assert "[]" in outputs(folder)


def test_what_a_kernel_leaves_behind_writes_nothing_any_more(tmp_path, monkeypatch):
    """A child that holds the kernel's log and the run's folder is ended before the run is sealed."""
    monkeypatch.setattr("opslib.redaction.kernel_pipes.LOG_DRAIN_TIMEOUT_S", 0.2)
    child = "while :; do echo late; date >> $OPSLIB_RUN_FOLDER/dates; sleep 0.02; done"
    spawn = f"import subprocess; subprocess.Popen(['sh', '-c', {child!r}], start_new_session=True)"
    write_runbook(tmp_path, spawn, RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    sealed = contents(folder)
    assert record.outcome is Outcome.SUCCEEDED
    assert sealed["dates"]
    with pytest.raises(AssertionError):
        wait_until(lambda: contents(folder) != sealed, within_s=1.0)
    assert verify(tmp_path / "runs").findings == ()


def test_silence_is_measured_by_a_clock_that_nobody_sets(tmp_path, monkeypatch):
    """A wall clock that is set back would otherwise hide a kernel that hangs; one set forward would accuse it."""
    now_s = iter(range(0, 100, 10))
    monkeypatch.setattr("opslib.evidence.run.journal.monotonic", lambda: next(now_s))
    heartbeat = Heartbeat(tmp_path)
    assert heartbeat.idle_s() == 0
    (tmp_path / "journal.jsonl").touch()
    os.utime(tmp_path / "journal.jsonl", (2e9, 2e9))
    assert heartbeat.idle_s() == 10
    assert heartbeat.idle_s() == 20
    os.utime(tmp_path / "journal.jsonl", (1e9, 1e9))
    assert heartbeat.idle_s() == 10
