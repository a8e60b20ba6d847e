"""The archive in ``earlier_version/``, written by an earlier version of opslib, still verifies and reads."""

import shutil
from pathlib import Path

import pytest
from evidence_fixture import contents

from opslib.cli.main import main
from opslib.evidence.archive.run_folders import find_run, read_archive
from opslib.evidence.run.decisions import decisions, readable_events
from opslib.evidence.run.files import DECISIONS, JOURNAL
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome


@pytest.fixture
def archive(tmp_path):
    """A copy: reading writes an index beside the runs."""
    return Path(shutil.copytree(Path(__file__).parent / "earlier_version", tmp_path / "runs"))


def test_it_verifies(archive):
    """Two runs are sound, the third was never ended; a changed byte is found."""
    (key,) = (archive / "KEYS").iterdir()
    result = verify(archive, key)
    assert [(f.state, f.run.split("-")[1]) for f in result.findings] == [(VerifyState.INCOMPLETE, "deploy")]
    assert (result.runs, result.sealed) == (3, 2)
    for folder, record in read_archive(archive):
        assert record.outcome is None or verify(folder, key).state is VerifyState.SOUND
    path = find_run(archive, "canary") / JOURNAL
    path.write_bytes(path.read_bytes().replace(b"checked by hand", b"checked by head"))
    assert verify(archive, key).state is VerifyState.TAMPERED


def test_its_records_read(archive):
    """Outcomes, models and gates are as they were recorded."""
    records = {record.runbook: record for _, record in read_archive(archive)}
    assert {name: record.outcome for name, record in records.items()} == {
        "canary": Outcome.SUCCEEDED,
        "rollback": Outcome.FAILED,
        "deploy": None,
    }
    assert [gate["gate"] for gate in records["canary"].gates] == [
        "state",
        "failures are below 5 %",
        "no evidence of harm",
        "a person's answer",
    ]


def test_its_journal_gives_the_same_decisions(archive):
    """The stored names of events and fields are read as they were written."""
    folder = find_run(archive, "canary")
    derived = [line["decision"] for event in readable_events(folder / JOURNAL) for line in decisions(event)]
    assert derived == ["clear", "promote", "smaller step", "ask", "promote", "succeeded"]
    assert (folder / DECISIONS).read_text().count("\n") == len(derived)


def test_the_commands_read_it(archive, capsys):
    """They list it, show a run of it, and change none of its files."""
    before = contents(archive)
    assert main(["runs", "--runs", str(archive)]) == 0
    assert [line.split()[0] for line in capsys.readouterr().out.splitlines()] == [
        "incomplete",
        "failed",
        "succeeded",
    ]
    assert main(["runs", "show", "canary", "--runs", str(archive)]) == 0
    shown = capsys.readouterr().out
    for text in (
        "promoted by oncall although undecided",
        "fraud-model:2",
        "owner at 2026-01-01T00:00:00Z, this plan, not signed",
        "failures are below 5 % at blue=90 green=10: canary 0 % of 1917",
        "traffic changed: blue=100 -> blue=90 green=10",
    ):
        assert text in shown
    after = contents(archive)
    assert {name: after[name] for name in before} == before
    assert {name.split("/")[0] for name in after.keys() - before.keys()} == {".index.sqlite"}
