"""Keys that are trusted for a time: replaced and revoked keys, and findings on runs sealed outside that time."""

import shutil
import subprocess
from datetime import UTC, datetime, timedelta

import pytest
from evidence_fixture import make_run

from opslib.cli.main import main
from opslib.errors import RecordError
from opslib.evidence.run.files import KEYS
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.signing.public_keys import PublicKey, read_public_keys
from opslib.evidence.verify.verify import verify

HOUR = timedelta(hours=1)


def pem(archive, number=0):
    """A public key of those that signed here."""
    return sorted((archive / KEYS).iterdir())[number].read_text()


@pytest.fixture
def archive(tmp_path):
    make_run(tmp_path / "runs")
    return tmp_path / "runs"


@pytest.fixture
def kept(tmp_path):
    """Writes the file of keys that were kept apart."""

    def write(*parts):
        (tmp_path / "kept.pem").write_text("".join(parts))
        return tmp_path / "kept.pem"

    return write


def states(archive, kept):
    return {finding.state for finding in verify(archive, kept).findings}


@pytest.mark.parametrize(
    ("limits", "said"),
    [
        ({"not-before": -HOUR, "not-after": HOUR}, ""),
        ({"not-before": HOUR}, "before its key was in use"),
        ({"not-after": -HOUR}, "after its key was replaced"),
        ({"revoked": -HOUR}, "after its key was revoked"),
        ({"revoked": HOUR}, "no independent time is earlier than that"),
    ],
)
def test_a_run_that_was_sealed_outside_of_its_keys_time_is_told(archive, kept, limits, said):
    """Run and checkpoint are named, as by a key that is not known; in an archive and as a folder alone."""
    now = datetime.now(UTC)
    path = kept(*(f"{word}: {now + off}\n" for word, off in limits.items()), pem(archive))
    folder = next(archive.glob("2*/*"))
    found = verify(archive, path).findings
    assert [f.file for f in found] == (["CHECKPOINTS/000002.dsse.json", "attestation.dsse.json"] if said else [])
    assert all(said in f.message and f.state is VerifyState.UNKNOWN_KEY for f in found)
    assert main(["verify", str(archive), "--keys", str(path)]) == (3 if said else 0)
    alone = shutil.copytree(folder, archive.parent / "alone" / folder.name)
    signed = {f.message for f in found if f.file == "attestation.dsse.json"}  # a checkpoint may be a second younger
    assert {f.message for f in verify(alone, path).findings} == signed


def test_a_key_is_replaced_without_a_gap(archive, kept, monkeypatch, tmp_path):
    """The old one is believed until, the new one from; each is refused at the other's time."""
    old = pem(archive)
    between = datetime.now(UTC)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "new"))
    make_run(archive)
    new = next(text for text in (pem(archive, 0), pem(archive, 1)) if text != old)
    assert states(archive, kept(f"not-after: {between}\n", old, f"# since\nnot-before: {between}\n", new)) == set()
    assert verify(archive, kept(f"not-after: {between}\n", new, old)).state is VerifyState.UNKNOWN_KEY
    assert verify(archive, kept(old)).state is VerifyState.UNKNOWN_KEY


def test_what_a_second_key_signed_before_the_first_was_revoked_stays_believed(archive, kept, monkeypatch, tmp_path):
    """A later checkpoint by another key dates a signature; without an independent time it is not trusted."""
    old = pem(archive)
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "new"))
    make_run(archive)
    new = next(text for text in (pem(archive, 0), pem(archive, 1)) if text != old)
    stolen = datetime.now(UTC)
    assert states(archive, kept(f"revoked: {stolen}\n", old, new)) == set()
    both = kept(f"revoked: {stolen}\n", old, f"revoked: {stolen}\n", new)
    assert states(archive, both) == {VerifyState.UNKNOWN_KEY}


def test_a_limit_that_cannot_be_read_is_an_error(archive, kept):
    """A misspelt word would leave the key unlimited, unnoticed."""
    for words in ("revokd: 2026-01-01", "revoked: yesterday", "revoked 2026-01-01", "made by oncall"):
        with pytest.raises(RecordError, match="Expected not-before, not-after or revoked"):
            read_public_keys([kept(words, "\n", pem(archive))])
    with pytest.raises(RecordError, match="text after its last public key"):
        read_public_keys([kept(pem(archive), "revoked: 2026-01-01")])


def test_openssl_still_reads_the_file(archive, kept):
    """Limits are where PEM allows text, which other tools ignore."""
    path = kept("# of the pipeline\nnot-after: 2027-01-01T00:00:00Z\n", pem(archive))
    command = ["openssl", "pkey", "-pubin", "-in", path, "-outform", "PEM"]
    assert subprocess.run(command, check=True, capture_output=True, text=True).stdout == pem(archive)
    (known,) = read_public_keys([path]).values()
    assert known == PublicKey(known.key, not_after=datetime(2027, 1, 1, tzinfo=UTC))
