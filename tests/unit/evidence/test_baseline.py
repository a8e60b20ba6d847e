"""A verification that continues from a baseline: what it reads, what it takes, and what it refuses."""

import errno
import json
import os
import shutil

import pytest
from evidence_fixture import make_archive, make_run, open_run

from opslib import processes
from opslib.cli.main import main
from opslib.errors import RecordError
from opslib.evidence import finish
from opslib.evidence.run.files import CHECKPOINTS, LEDGER
from opslib.evidence.run.run_lock import archive_of
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.signing.keys import find_key
from opslib.evidence.signing.public_keys import public_pem
from opslib.evidence.verify.verify import save_baseline, verify
from opslib.model import Outcome


@pytest.fixture
def archive(tmp_path):
    make_archive(tmp_path / "runs", 3)
    return tmp_path / "runs"


@pytest.fixture
def baseline(archive, tmp_path):
    """A baseline of three runs."""
    save_baseline(verify(archive), tmp_path / "baseline.json")
    return tmp_path / "baseline.json"


def alter(folder):
    folder.chmod(0o755)
    (folder / "run.json").chmod(0o644)
    (folder / "run.json").write_text("{}")


def test_only_what_is_new_is_read_and_the_output_says_so(archive, baseline, capsys):
    """One run is verified, three are taken from the baseline, with its date and its signer."""
    make_run(archive)
    signer = json.loads(baseline.read_text())["signatures"][0]["keyid"]
    assert main(["verify", "--since", str(baseline), "--save", str(baseline), "--runs", str(archive)]) == 0
    shown = capsys.readouterr().out
    assert "1 of 1 runs after the baseline sealed" in shown
    assert f"signed by key {signer[:16]}: 3 runs and 3 checkpoints up to line 6" in shown
    assert "their files were not read" in shown
    assert main(["verify", "--since", str(baseline), "--runs", str(archive), "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert (found["runs"], found["taken"]["runs"], found["taken"]["lines"]) == (0, 4, 8)


def test_a_changed_file_of_an_old_run_is_found_by_a_full_verification_only(archive, baseline):
    """The one thing that a baseline gives up, which its output states."""
    alter(next(archive.glob("2*/*")))
    assert verify(archive, since=baseline).state is VerifyState.SOUND
    assert verify(archive).state is VerifyState.TAMPERED


@pytest.mark.parametrize("change", ["line", "cut", "folder", "checkpoint", "stray", "new run"])
def test_every_other_change_is_found(archive, baseline, change):
    """The ledger's bytes, the runs' folders, the checkpoints' number, and all that is new."""
    ledger, folder = archive / LEDGER, next(archive.glob("2*/*"))
    if change == "line":
        ledger.write_bytes(ledger.read_bytes().replace(b'"outcome":"succeeded"', b'"outcome":"failed123"', 1))
    elif change == "cut":
        ledger.write_bytes(b"".join(ledger.read_bytes().splitlines(keepends=True)[:4]))
    elif change == "folder":
        folder.chmod(0o755)
        shutil.rmtree(folder)
    elif change == "checkpoint":
        next((archive / CHECKPOINTS).glob("*2.dsse.json")).unlink()
    elif change == "stray":
        shutil.copytree(folder, folder.with_name("20260101T000000Z-canary-fraud-000000"))
    else:
        alter(make_run(archive))
    assert verify(archive, since=baseline).state is VerifyState.TAMPERED


def test_a_run_that_was_open_is_verified_later(archive, tmp_path):
    """A run that had not ended is not covered: its end is verified from the next baseline on."""
    folder, record = open_run(archive)
    found = verify(archive)
    assert found.state is VerifyState.INCOMPLETE
    assert found.baseline.pending == (folder.name,)
    save_baseline(found, tmp_path / "b.json")
    finish.end_run(folder, record.ended(Outcome.HELD, "done"))
    assert archive_of(folder) == archive
    later = verify(archive, since=tmp_path / "b.json")
    assert (later.state, later.runs, later.taken.runs) == (VerifyState.SOUND, 1, 3)
    alter(folder)
    assert verify(archive, since=tmp_path / "b.json").state is VerifyState.TAMPERED


def test_no_baseline_is_written_over_an_altered_archive(archive, baseline, tmp_path, capsys):
    """What is not sound is not a place to continue from."""
    alter(next(archive.glob("2*/*")))
    assert main(["verify", "--save", str(tmp_path / "new.json"), "--runs", str(archive)]) == 1
    assert "no baseline was written" in capsys.readouterr().err
    assert not (tmp_path / "new.json").exists()
    with pytest.raises(RecordError, match="the state of the archive is tampered"):
        save_baseline(verify(archive), tmp_path / "new.json")


def test_a_baseline_of_others_or_of_other_keys_is_refused(archive, baseline, tmp_path, monkeypatch, capsys):
    """Its signer must be trusted, and the trusted keys and their limits must be the same as then."""
    own = find_key(tmp_path / "other.pem", "another person's")
    pinned = tmp_path / "keys.pem"
    pinned.write_text(next((archive / "KEYS").glob("*.pem")).read_text())
    arguments = ["verify", "--since", str(baseline), "--runs", str(archive)]
    assert main(arguments) == 0
    revoked = tmp_path / "revoked.pem"
    revoked.write_text("revoked: 2020-01-01\n" + pinned.read_text())
    assert main([*arguments, "--keys", str(revoked)]) == 4
    assert "not a baseline that can be trusted: signed at" in capsys.readouterr().err
    limited = tmp_path / "limited.pem"
    limited.write_text("not-before: 2020-01-01\n" + pinned.read_text())
    assert main([*arguments, "--keys", str(limited)]) == 4
    assert "verify without --since" in capsys.readouterr().err
    pinned.write_text(public_pem(own.private.public_key()))
    monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(tmp_path / "other.pem"))
    assert main([*arguments, "--keys", str(pinned)]) == 4
    assert "not one of the" in capsys.readouterr().err
    content = baseline.read_text()
    baseline.write_text(content.replace('"payload":"', '"payload":"AAAA'))
    assert main(arguments) == 4


def test_many_runs_are_divided_over_processes(archive, monkeypatch):
    """The findings of other processes are the ones that this process would find."""
    monkeypatch.setattr(processes, "SMALLEST", 2)
    monkeypatch.setattr(processes, "CHUNK", 1)
    monkeypatch.setattr(os, "sched_getaffinity", lambda _: {0, 1})
    monkeypatch.setattr("threading.active_count", lambda: 1)
    assert list(processes.map_over_cores(lambda some: [os.getpid() for _ in some], [1, 2, 3])) != [os.getpid()] * 3
    alter(next(archive.glob("2*/*")))
    spread = verify(archive)
    monkeypatch.setattr(processes, "SMALLEST", 1000)
    assert spread == verify(archive)
    assert spread.state is VerifyState.TAMPERED


@pytest.mark.parametrize("written", [b"\xff", b'"'])
def test_a_ledger_that_cannot_be_read_any_more_is_tampered_with(archive, tmp_path, written):
    """Also where the baseline covers its lines, and a run of them had not ended."""
    open_run(archive)
    baseline, path = tmp_path / "open.json", archive / LEDGER
    save_baseline(verify(archive), baseline)
    path.write_bytes(path.read_bytes().replace(b'"folder":"2', b'"folder":"' + written))
    found = verify(archive, since=baseline)
    assert found.state is VerifyState.TAMPERED
    assert any("are not the ones of the baseline" in finding.message for finding in found.findings)


def test_a_file_that_is_named_like_a_month_is_unexpected(archive, baseline):
    """It is a finding, as without a baseline."""
    (archive / "2026-13").write_text("not a folder")
    found = verify(archive, since=baseline)
    assert [(one.message, one.file) for one in found.findings] == [("unexpected file", "2026-13")]


@pytest.mark.parametrize(
    "content", ["", "not a certificate", "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----"]
)
def test_certificates_that_cannot_be_used_are_no_tampering(archive, tmp_path, capsys, content):
    """Exit code 1 would mean that: the file is another one, or its name is misspelled."""
    path = tmp_path / "tsa.pem"
    if content:
        path.write_text(content)
    assert main(["verify", "--tsa", str(path), "--runs", str(archive)]) == 4
    assert f"{path} cannot be used: expected certificates in PEM" in capsys.readouterr().err


def test_a_verification_that_cannot_read_a_file_is_none(archive, monkeypatch, capsys):
    """A disk that fails is no tampering either."""

    def fail(*_: object, **__: object) -> None:
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("opslib.evidence.verify.verify.read_chain", fail)
    assert main(["verify", "--runs", str(archive)]) == 4
    assert "Input/output error" in capsys.readouterr().err
