"""Every alteration of an archive is found: every byte of every file, every operation on the ledger.

A small archive is altered exhaustively (``OPSLIB_TAMPER=full``: every byte; else every byte of the ledger's and the
checkpoints' ends and a sample of the rest), a larger one at random places (``OPSLIB_TAMPER_RUNS``, 1000 in the full
run).
"""

import json
import os
import random
import shutil
from pathlib import Path

import msgspec
import pytest
from evidence_fixture import make_archive, make_run, open_run

from opslib.evidence import finish
from opslib.evidence.archive import ledger
from opslib.evidence.archive.checkpoints import find_checkpoints
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, SEAL
from opslib.evidence.run.record import read_record
from opslib.evidence.signing import dsse, keys, seal
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome

FULL = os.environ.get("OPSLIB_TAMPER") == "full"
RUNS = int(os.environ.get("OPSLIB_TAMPER_RUNS", "1000" if FULL else "40"))
SAMPLE = 400 if FULL else 60


@pytest.fixture(scope="module")
def pristine(tmp_path_factory):
    """A sealed archive of three runs and the public keys that were kept apart from it."""
    settings = tmp_path_factory.mktemp("keys")
    archive = tmp_path_factory.mktemp("pristine") / "runs"
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(settings))
        make_archive(archive, 2)
        make_run(archive, Outcome.HELD, "not decided")
    kept = settings / "kept.pem"
    shutil.copy(next((archive / KEYS).glob("*.pem")), kept)
    return archive, kept


@pytest.fixture
def archive(pristine, tmp_path):
    """A copy to alter, with permissions to do so."""
    copy = tmp_path / "runs"
    shutil.copytree(pristine[0], copy)
    for path in [copy, *copy.rglob("*")]:
        path.chmod(0o755 if path.is_dir() else 0o644)
    return copy


@pytest.fixture
def kept(pristine):
    return pristine[1]


def evidence(archive):
    """Every file that verification answers for."""
    files = [p for p in sorted(archive.rglob("*")) if p.is_file() and not p.is_symlink()]
    return [p for p in files if not p.relative_to(archive).as_posix().startswith((".", "README"))]


def folders(archive):
    return sorted(p.parent for p in archive.glob(f"*/*/{SEAL}"))


def lines(archive):
    return (archive / LEDGER).read_bytes().splitlines(keepends=True)


def put_lines(archive, changed):
    (archive / LEDGER).write_bytes(b"".join(changed))


def test_an_untouched_archive_is_sound(archive, kept):
    """Nothing is found where nothing was done, with keys kept apart and with those of the archive."""
    assert verify(archive, kept).findings == ()
    assert verify(archive).state is VerifyState.SOUND
    assert (verify(archive, kept).runs, verify(archive, kept).sealed) == (3, 3)
    assert all(verify(folder, kept).state is VerifyState.SOUND for folder in folders(archive))


def test_every_changed_byte_of_every_file_is_found(archive, kept):
    """A bit is turned in each byte of each file, and the file restored: found every time, and named."""
    tried = 0
    for path in evidence(archive):
        original = path.read_bytes()
        places = range(len(original)) if FULL else spots(len(original), 24)
        for place in places:
            changed = bytearray(original)
            changed[place] ^= 1 << (place % 8)
            path.write_bytes(changed)
            result = verify(archive, kept)
            assert result.state is not VerifyState.SOUND, f"{path.name}, byte {place}"
            assert named(result, path, archive), f"{path.name}, byte {place}: {result.findings}"
            tried += 1
        path.write_bytes(original)
    assert verify(archive, kept).state is VerifyState.SOUND
    print(f"{tried} bytes changed, {tried} found")
    assert tried > 100


def spots(size, count):
    """First, last, and evenly between."""
    return sorted({0, size - 1, *range(0, size, max(1, size // count))}) if size else []


def named(result, path, archive):
    """Whether a finding names the file, or what follows from it."""
    relative = path.relative_to(archive).as_posix()
    parts = relative.split("/")
    if parts[0] == LEDGER:
        return any(LEDGER in f.file or CHECKPOINTS in f.file or f.run for f in result.findings)
    if parts[0] in {CHECKPOINTS, KEYS}:
        return any(f.file.startswith(parts[0]) for f in result.findings)
    return any(f.run == parts[1] and f.file in {parts[2], ""} for f in result.findings)


@pytest.mark.parametrize("operation", ["truncate", "extend", "empty", "delete"])
def test_every_file_that_is_cut_or_gone_is_found(archive, kept, operation):
    """Each file is cut short, made longer, emptied, removed: found every time."""
    for path in evidence(archive):
        original = path.read_bytes()
        match operation:
            case "truncate":
                path.write_bytes(original[:-1])
            case "extend":
                path.write_bytes(original + b"\n")
            case "empty":
                path.write_bytes(b"")
            case "delete":
                path.unlink()
        unchanged = path.exists() and path.read_bytes() == original
        found = verify(archive, kept).state is not VerifyState.SOUND
        assert found or unchanged, path
        path.write_bytes(original)
    assert verify(archive, kept).state is VerifyState.SOUND


@pytest.mark.parametrize(
    "place", ["run", "month", "archive", "CHECKPOINTS", "KEYS", "hidden in run", "folder in run"]
)
def test_what_was_added_is_found(archive, kept, place):
    """A file that was not sealed is found, wherever it is put."""
    run = folders(archive)[1]
    path = {
        "run": run / "extra.txt",
        "month": run.parent / "extra.txt",
        "archive": archive / "extra.txt",
        "CHECKPOINTS": archive / "CHECKPOINTS" / "extra.txt",
        "KEYS": archive / "KEYS" / "extra.pem",
        "hidden in run": run / ".hidden",
        "folder in run": run / "sub" / "extra.txt",
    }[place]
    path.parent.mkdir(exist_ok=True)
    path.write_text("x")
    result = verify(archive, kept)
    assert result.state is VerifyState.TAMPERED
    assert any("extra" in f.file or "hidden" in f.file for f in result.findings)


def test_a_viewers_copy_is_no_finding_unless_it_differs(archive, kept):
    """Jupyter's server copies what root opens; the copy of a sealed file is accepted, any other is a finding."""
    run = folders(archive)[0]
    copy = run / ".ipynb_checkpoints" / "notebook-checkpoint.ipynb"
    copy.parent.mkdir()
    shutil.copyfile(run / "notebook.ipynb", copy)
    assert verify(archive, kept).findings == ()
    copy.write_bytes(copy.read_bytes() + b"\n")
    assert [f.file for f in verify(archive, kept).findings] == [copy.relative_to(run).as_posix()]
    copy.rename(copy.with_name("other-checkpoint.ipynb"))
    assert verify(archive, kept).state is VerifyState.TAMPERED


def test_an_empty_folder_in_a_run_is_found(archive, kept):
    """Nothing may be added, not even nothing."""
    (folders(archive)[0] / "sub").mkdir()
    assert verify(archive, kept).state is VerifyState.TAMPERED


@pytest.mark.parametrize("what", ["file", "run", "month", "ledger"])
def test_a_link_in_place_of_the_real_thing_is_found(archive, kept, what, tmp_path):
    """A link leads elsewhere tomorrow: the same bytes behind one are no evidence."""
    run = folders(archive)[0]
    path = {"file": run / "run.json", "run": run, "month": run.parent, "ledger": archive / LEDGER}[what]
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    path.symlink_to(elsewhere)
    assert verify(archive, kept).state is VerifyState.TAMPERED


def test_a_pipe_in_a_run_is_found_and_not_opened(archive, kept):
    """A named pipe would block its reader."""
    path = folders(archive)[0] / "run.json"
    path.unlink()
    os.mkfifo(path)
    assert verify(archive, kept).state is VerifyState.TAMPERED


def test_every_dropped_moved_doubled_and_changed_line_is_found(archive, kept):
    """Each line of the ledger is dropped, doubled, swapped with each other, and each field of it changed."""
    original = lines(archive)
    altered = [original[:i] + original[i + 1 :] for i in range(len(original))]
    altered += [original[: i + 1] + original[i:] for i in range(len(original))]
    for i in range(len(original)):
        for j in range(i):
            swapped = list(original)
            swapped[i], swapped[j] = swapped[j], swapped[i]
            altered.append(swapped)
        fields = json.loads(original[i])
        for name, value in fields.items():
            other = value + 1 if isinstance(value, int) else f"{value}x"
            line = json.dumps(fields | {name: other}, separators=(",", ":")).encode() + b"\n"
            altered.append([*original[:i], line, *original[i + 1 :]])
    altered += [original[:i] for i in range(len(original))]
    for changed in altered:
        put_lines(archive, changed)
        assert verify(archive, kept).state is VerifyState.TAMPERED, changed
    put_lines(archive, original)
    assert verify(archive, kept).state is VerifyState.SOUND


def test_a_ledger_that_was_written_anew_is_found(archive, kept):
    """A chain without one run is consistent in itself; the checkpoints show that it is another one."""
    victim = folders(archive)[1].name
    entries = [e for e in ledger.read_ledger(archive) if e.run != victim]
    previous, anew = ledger.GENESIS, []
    for number, entry in enumerate(entries, start=1):
        told = msgspec.structs.replace(entry, seq=number, prev=previous)
        previous = told.sha256
        anew.append(told.line())
    put_lines(archive, anew)
    shutil.rmtree(folders(archive)[1])
    assert verify(archive, kept).state is VerifyState.TAMPERED


def test_a_cut_end_is_found_even_with_its_folder(archive, kept):
    """The newest run is removed with its folder and its lines: its checkpoint still counts them."""
    last = list(ledger.read_ledger(archive))[-1]
    put_lines(archive, [line for line in lines(archive) if last.run.encode() not in line])
    shutil.rmtree(next(f for f in folders(archive) if f.name == last.run))
    result = verify(archive, kept)
    assert result.state is VerifyState.TAMPERED
    assert any("cut off" in f.message for f in result.findings)


def test_every_missing_checkpoint_is_found(archive, kept):
    """A middle one breaks the chain of checkpoints; the newest leaves the end of a run unsigned."""
    for path in find_checkpoints(archive):
        original = path.read_bytes()
        path.unlink()
        assert verify(archive, kept).state is not VerifyState.SOUND
        path.write_bytes(original)


def test_swapped_runs_and_seals_are_found(archive, kept):
    """Folders that trade names, seals that trade folders, and a run copied under a new name."""
    first, second, _ = folders(archive)
    for one, other in ((first, second), (first / SEAL, second / SEAL)):
        spare = one.with_name("spare")
        one.rename(spare), other.rename(one), spare.rename(other)
        assert verify(archive, kept).state is VerifyState.TAMPERED
        one.rename(spare), other.rename(one), spare.rename(other)
    shutil.copytree(first, first.with_name("20200101T000000Z-copy-fraud-000000"))
    assert verify(archive, kept).state is VerifyState.TAMPERED


def test_another_key_is_found(archive, kept, tmp_path, monkeypatch):
    """Everything is signed again with another key: keys kept elsewhere detect it, the archive's own do not."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mallory"))
    forged = archive.with_name("forged")
    for folder in folders(archive):
        target = forged / folder.parent.name / folder.name
        shutil.copytree(folder, target)
        (target / SEAL).unlink()
        record = finish.begin_run(target, read_record(target))
        finish.end_run(target, record)
    assert verify(forged, kept).state is VerifyState.UNKNOWN_KEY
    unpinned = verify(forged)
    assert unpinned.state is VerifyState.SOUND
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "nobody"))
    assert not verify(forged).pinned


def test_a_planted_key_is_found_with_keys_kept_apart(archive, kept, tmp_path, monkeypatch):
    """A key that was added to the archive is a finding: it prepares a forgery."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "mallory"))
    keys.store_public_key(archive, keys.find_signing_key())
    assert verify(archive, kept).state is VerifyState.UNKNOWN_KEY


def test_a_seal_that_names_a_path_outside_is_found(archive, kept, monkeypatch):
    """A seal by a trusted key that names ``../..`` is tampering, and nothing outside is opened."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(kept.parent))
    folder, record = open_run(archive)
    (folder.parent / "outside").write_text("x")
    monkeypatch.setattr(seal, "digests", lambda _: iter([("../outside", "0" * 64)]))
    finish.end_run(folder, record.ended(Outcome.SUCCEEDED, ""))
    (folder.parent / "outside").unlink()
    result = verify(archive, kept)
    assert result.state is VerifyState.TAMPERED
    assert any("outside" in f.message for f in result.findings)


def test_a_line_that_leads_outside_is_found(archive, kept, tmp_path):
    """A folder of the ledger that leaves the archive is not followed."""
    fields = json.loads(lines(archive)[0])
    fields["folder"] = f"../{tmp_path.name}"
    put_lines(archive, [json.dumps(fields, separators=(",", ":")).encode() + b"\n", *lines(archive)[1:]])
    assert any("outside the archive" in f.message for f in verify(archive, kept).findings)


def test_sampled_changes_on_a_larger_archive_are_found(tmp_path, monkeypatch):
    """Random bytes of random files of many runs: all found, none falsely."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    archive = tmp_path / "runs"
    make_archive(archive, RUNS)
    assert verify(archive).findings == ()
    rng = random.Random(5)  # noqa: S311 - a sample
    files = evidence(archive)
    for path in rng.choices(files, k=SAMPLE):
        original = path.read_bytes()
        if not original:
            continue
        path.chmod(0o644)
        changed = bytearray(original)
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
        path.write_bytes(changed)
        target = path.parent if path.parent.parent.parent == archive else archive
        assert verify(target).state is not VerifyState.SOUND, path
        path.write_bytes(original)
    assert verify(archive).findings == ()


def test_keys_that_are_none_are_an_error(archive, tmp_path):
    """A file that holds no public key verifies nothing."""
    path = tmp_path / "none.pem"
    path.write_text("nothing")
    with pytest.raises(Exception, match="does not contain public keys"):
        verify(archive, path)
    assert issubclass(dsse.UnknownKey, Exception)
    assert Path(path).exists()
