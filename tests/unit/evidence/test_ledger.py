"""The ledger: runners at once, a crash between any two writes, a full disk, a clock that jumps: it verifies."""

import errno
import json
import multiprocessing
import os
from datetime import UTC, datetime

import pytest
from evidence_fixture import contents, make_archive, make_run, open_run

from opslib.errors import RecordError
from opslib.evidence import finish
from opslib.evidence.archive import ledger
from opslib.evidence.run import record, run_lock
from opslib.evidence.run.files import LEDGER
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome


def make_some(archive, count):
    for _ in range(count):
        make_run(archive)


def test_runners_at_once_leave_one_chain(tmp_path):
    """Four processes write into one archive: every run is there, in one unbroken chain."""
    context = multiprocessing.get_context("spawn")
    workers = [context.Process(target=make_some, args=(tmp_path, 5)) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    assert [worker.exitcode for worker in workers] == [0] * 4
    found = verify(tmp_path)
    assert (found.state, found.runs, found.sealed) == (VerifyState.SOUND, 20, 20)


class Crash(BaseException):
    """What stands for a process that is gone: no code of ours handles it."""


WRITES = ("os.fsync", "os.write", "pathlib.Path.replace", "pathlib.Path.chmod")


def crash_at(monkeypatch, call, number):
    """Let a system call succeed so many times, then never return."""
    module, _, name = call.rpartition(".")
    owner = os if module == "os" else __import__("pathlib").Path
    real, calls = getattr(owner, name), iter(range(10_000))

    def guarded(*args, **kwargs):
        if next(calls) == number:
            raise Crash
        return real(*args, **kwargs)

    monkeypatch.setattr(owner, name, guarded)


@pytest.mark.parametrize("call", WRITES)
def test_a_crash_between_any_two_writes_is_never_taken_for_tampering(tmp_path, monkeypatch, call):
    """A run that dies at any write is incomplete; ending it again completes it, and the chain continues."""
    number = 0
    while True:
        archive = tmp_path / f"{call}{number}"
        make_archive(archive, 1)
        with monkeypatch.context() as patch:
            crash_at(patch, call, number)
            try:
                make_run(archive)
            except Crash:
                pass
            else:
                break
        for folder in list(run_lock._DESCRIPTORS):
            os.close(run_lock._DESCRIPTORS.pop(folder))
        assert verify(archive).state in {VerifyState.INCOMPLETE, VerifyState.SOUND}, verify(archive).findings
        for entry, alive in finish.unfinished_runs(archive):
            assert not alive
            finish.end_unfinished(archive / entry.folder)
        make_run(archive)
        assert verify(archive).state is VerifyState.SOUND, verify(archive).findings
        number += 1
    assert number >= 2


@pytest.mark.parametrize("kept", [1, 40, -1])
def test_a_line_that_a_crash_cut_off_is_incomplete_and_then_healed(tmp_path, kept):
    """The next line removes an unfinished line, and records its size."""
    make_archive(tmp_path, 1)
    path = tmp_path / LEDGER
    whole = path.read_bytes()
    torn = ledger.Entry(3, "now", "started", "x", "y").line()[:kept]
    path.write_bytes(whole + torn)
    assert verify(tmp_path).state is VerifyState.INCOMPLETE
    make_run(tmp_path)
    assert verify(tmp_path).state is VerifyState.SOUND
    assert [e.healed_bytes for e in ledger.read_ledger(tmp_path)] == [0, 0, len(torn), 0]


def test_a_full_disk_leaves_the_ledger_as_it_was(tmp_path, monkeypatch):
    """A line is there whole or not at all."""
    make_archive(tmp_path, 1)
    before = (tmp_path / LEDGER).read_bytes()
    real = os.write

    def half(descriptor, content):
        return real(descriptor, content[: len(content) // 2])

    monkeypatch.setattr(os, "write", half)
    with pytest.raises(RecordError, match="cannot be written"):
        ledger.append(tmp_path, ledger.STARTED, "x")
    assert (tmp_path / LEDGER).read_bytes() == before


def test_a_clock_that_jumps_back_breaks_nothing(tmp_path, monkeypatch):
    """Lines are in order by number; their times may be anything."""

    class Yesterday(datetime):
        @classmethod
        def now(cls, tz=None):  # noqa: ARG003
            return datetime(2001, 1, 1, tzinfo=UTC)

    make_archive(tmp_path, 1)
    monkeypatch.setattr(ledger, "datetime", Yesterday)
    make_run(tmp_path)
    monkeypatch.undo()
    assert verify(tmp_path).state is VerifyState.SOUND


def test_a_run_that_vanished_is_reported_as_incomplete(tmp_path):
    """Begun and never ended: the population of runs is complete even so."""
    make_archive(tmp_path, 1)
    folder, _ = open_run(tmp_path)
    assert "still running" in str(verify(tmp_path).findings)
    assert run_lock.is_held(folder)
    os.close(run_lock._DESCRIPTORS.pop(folder.name))
    assert not run_lock.is_held(folder)
    found = verify(tmp_path)
    assert found.state is VerifyState.INCOMPLETE
    assert [f.run for f in found.findings] == [folder.name]


def test_a_run_left_open_can_be_ended_by_somebody_else(tmp_path):
    """Ended as aborted where it recorded no outcome; not while its process lives."""
    folder, _ = open_run(tmp_path)
    with pytest.raises(RecordError, match="still running"):
        finish.end_unfinished(folder)
    os.close(run_lock._DESCRIPTORS.pop(folder.name))
    sealed = finish.end_unfinished(folder)
    assert sealed.record.outcome is Outcome.ABORTED
    assert verify(tmp_path).state is VerifyState.SOUND


def end_it(folder, failures):
    try:
        finish.end_unfinished(folder)
    except RecordError as error:
        failures.put(str(error))


def test_several_that_end_one_run_at_once_end_it_once(tmp_path):
    """A guardian and a sweep that meet: one ends it, the others find it ended or held; one line, one seal."""
    folder, _ = open_run(tmp_path)
    os.close(run_lock._DESCRIPTORS.pop(folder.name))
    context = multiprocessing.get_context("spawn")
    failures = context.SimpleQueue()
    workers = [context.Process(target=end_it, args=(folder, failures)) for _ in range(3)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
    while not failures.empty():
        message = failures.get()
        assert "is running in another process" in message or "is still running. Wait until it ends" in message
    assert [e.event for e in ledger.read_ledger(tmp_path)] == [ledger.STARTED, ledger.FINISHED]
    assert verify(tmp_path).state is VerifyState.SOUND


def test_ending_twice_changes_nothing(tmp_path):
    """A second end finds everything done."""
    folder = make_run(tmp_path)
    before = contents(tmp_path)
    finish.end_run(folder, record.read_record(folder))
    assert contents(tmp_path) == before


def test_a_run_that_was_never_begun_or_has_no_outcome_is_not_sealed(tmp_path):
    """A run needs an outcome and a start in the ledger before it is sealed."""
    folder, begun = open_run(tmp_path)
    with pytest.raises(RecordError, match="has no outcome"):
        finish.end_run(folder, begun)
    stranger = tmp_path / "2026-01" / "stranger"
    stranger.mkdir(parents=True)
    with pytest.raises(RecordError, match="never started"):
        finish.end_run(stranger, begun.ended(Outcome.SUCCEEDED, ""))
    run_lock.release(folder)


def test_sealed_files_cannot_be_written_by_mistake(tmp_path):
    """Files 0444 and the folder 0555: a viewer that saves finds out at once."""
    folder = make_run(tmp_path)
    assert {p.stat().st_mode & 0o777 for p in folder.iterdir()} == {0o444}
    assert folder.stat().st_mode & 0o777 == 0o555


def test_a_file_is_replaced_whole_or_not_at_all(tmp_path, monkeypatch):
    """A disk that fills up leaves what was there, and no draft."""
    path = tmp_path / "run.json"
    record.write_atomically(path, "old")

    def full(_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(RecordError, match="No space left"):
        record.write_atomically(path, "new")
    assert contents(tmp_path) == {"run.json": b"old"}


def test_every_line_names_the_one_before(tmp_path):
    """The chain can be followed with sha256sum and jq."""
    make_archive(tmp_path, 2)
    previous = ledger.GENESIS
    for line in (tmp_path / LEDGER).read_bytes().splitlines(keepends=True):
        assert json.loads(line)["prev"] == previous
        previous = ledger.digest(line)
