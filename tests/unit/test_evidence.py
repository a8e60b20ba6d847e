"""Journal, record and archive: on disk before the run continues, complete or not at all."""

import json
import signal
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from worlds import deployment, endpoint

from opslib.errors import RecordError
from opslib.evidence.archive.run_folders import find_archive, new_folder, read_archive
from opslib.evidence.run.journal import Journal, JournalEvent, JournalTail, as_json, read_journal
from opslib.evidence.run.record import Record, read_record, write_record
from opslib.model import Finding, Level, Outcome, Scope

NOW = datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)
RECORD = Record("id", "canary", "fraud", {"stages": [10, 100]}, NOW, scope=Scope("s", "g", "w", "https://arm"))


def test_journal_numbers_its_events_across_restarts(tmp_path):
    """A reopened journal continues its numbers."""
    Journal(tmp_path).write(JournalEvent.PROGRESS, {"a": 1})
    journal = Journal(tmp_path)
    journal.write(JournalEvent.LOOK, "hold")
    events = list(read_journal(journal.path))
    assert [(e["seq"], e["event"], e["data"]) for e in events] == [
        (1, "progress", {"a": 1}),
        (2, "look", "hold"),
    ]


def test_a_line_that_a_crash_cut_off_is_left_out(tmp_path):
    """What was flushed is read; the rest is left out."""
    journal = Journal(tmp_path)
    journal.write(JournalEvent.PROGRESS)
    with journal.path.open("a") as file:
        file.write('{"seq": 2, "at"')
    assert [e["event"] for e in read_journal(journal.path)] == ["progress"]


@pytest.mark.parametrize("damage", [b"\0" * 40, b'{"seq": 2, "at"', b"7", b"{}", b"", b"\xff\xfe"])
def test_a_damaged_line_is_named_and_hides_no_other(tmp_path, damage):
    """As by a loss of power: an undo needs the lines around it."""
    journal = Journal(tmp_path)
    journal.write(JournalEvent.APPLYING, "step")
    with journal.path.open("ab") as file:
        file.write(damage + b"\n")
    reopened = Journal(tmp_path)
    reopened.write(JournalEvent.UNDOING)
    seen = [(e["seq"], e["event"], e["data"]) for e in read_journal(journal.path)]
    assert seen == [(1, "applying", "step"), (2, "unreadable", {"line": 2}), (3, "undoing", None)]
    assert [(e["seq"], e["event"], e["data"]) for e in JournalTail(tmp_path).read()] == seen


def test_a_journal_that_cannot_be_written_stops_the_run(tmp_path):
    """A change that leaves no evidence must not go on."""
    journal = Journal(tmp_path / "gone")
    with pytest.raises(RecordError, match="cannot be written"):
        journal.write(JournalEvent.PROGRESS)


def test_an_interrupt_in_the_middle_of_a_write_leaves_the_whole_line_or_none(tmp_path, monkeypatch):
    """A run is interrupted at any moment: no two events get one number."""
    journal = Journal(tmp_path)
    with monkeypatch.context() as patched:
        patched.setattr("opslib.evidence.run.journal.os.fsync", lambda _: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            journal.write(JournalEvent.APPLYING, "interrupted")
    journal.write(JournalEvent.UNDOING, "undone")
    assert [(one["seq"], one["data"]) for one in read_journal(journal.path)] == [(1, "undone")]


def test_numbers_that_json_has_not_are_refused(tmp_path):
    """A bare NaN would make the journal unreadable for strict readers."""
    with pytest.raises(ValueError, match="not JSON compliant"):
        Journal(tmp_path).write(JournalEvent.PROGRESS, float("nan"))


def test_arms_json_stays_out_of_the_journal():
    """before.json and after.json hold the whole resources; the journal holds the values."""
    value = as_json(endpoint({"blue": 100}, deployment("blue")))
    assert value["traffic"] == {"blue": 100}
    assert "arm" not in json.dumps(value)


def test_a_renamed_field_keeps_its_name_in_the_journal():
    """Archives of earlier releases and new ones are read by the same names."""
    assert as_json(Finding("lease", Level.OK, "none", "wait")) == {
        "check": "lease",
        "level": "ok",
        "evidence": "none",
        "mend": "wait",
    }


def test_a_record_reads_back_as_it_was_written(tmp_path):
    """Round trip of an open and of an ended record."""
    for record in (RECORD, RECORD.ended(Outcome.HELD, "too few requests")):
        written = replace(record, finished_at=NOW if record.finished_at else None)
        write_record(tmp_path, written)
        assert read_record(tmp_path) == written
    assert [p.name for p in tmp_path.iterdir()] == ["run.json"]


@pytest.mark.parametrize("content", ["", "{", "[]", "{}", '{"outcome": "fine"}'])
def test_what_is_not_a_record_is_an_error(tmp_path, content):
    """A damaged record is an error with its path, never a run that succeeded."""
    (tmp_path / "run.json").write_text(content)
    with pytest.raises(RecordError, match="is not the record of a run"):
        read_record(tmp_path)


def test_the_archive_is_read_newest_first_and_passes_over_damage(tmp_path):
    """Folders sort by the time in their names; a damaged one hides no other."""
    names = ["20260101T000000Z-canary-fraud-a", "20260103T000000Z-scale-fraud-b", "20260102T000000Z-canary-other-c"]
    for name in names:
        folder = tmp_path / "2026-01" / name
        folder.mkdir(parents=True)
        write_record(folder, replace(RECORD, run_id=name, endpoint=name.split("-")[2]))
    (tmp_path / "2026-01" / names[0] / "run.json").write_text("{")
    assert [record.run_id for _, record in read_archive(tmp_path)] == [names[1], names[2]]
    assert [record.run_id for _, record in read_archive(tmp_path, "FRAUD")] == [names[1]]


def test_folders_of_runs_do_not_collide(tmp_path):
    """Two runs of the same second have folders of their own."""
    assert len({new_folder(tmp_path, "canary", "fraud") for _ in range(50)}) == 50


def test_the_archive_is_found_from_the_notebooks_folder(tmp_path, monkeypatch):
    """A kernel that JupyterLab started in notebooks/ finds the runs/ beside it."""
    monkeypatch.delenv("OPSLIB_RUNS", raising=False)
    (tmp_path / "runs").mkdir()
    (tmp_path / "notebooks").mkdir()
    monkeypatch.chdir(tmp_path / "notebooks")
    assert find_archive() == tmp_path / "runs"
