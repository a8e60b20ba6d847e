"""The ledger of an archive (``LEDGER.jsonl``): a hash chain with one line when a run starts and one when it ends.

A line contains the SHA-256 of the line before, so that no line can be changed, removed or moved without changing
all later ones. Signed checkpoints (``CHECKPOINTS/NNNNNN.dsse.json``) contain the digest of the last line at a time,
so that the end cannot be cut off either. Lines are ordered by number, not by time: clocks may jump.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec

from opslib.errors import RecordError
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, CHECKPOINTS, LEDGER
from opslib.evidence.run.record import sync_folder, write_atomically
from opslib.evidence.signing import dsse

if TYPE_CHECKING:
    from opslib.evidence.signing.keys import SigningKey

CHECKPOINT_TYPE = "application/vnd.opslib.checkpoint+json"
GENESIS = "0" * 64
"""The digest that the first line contains for the line before."""

STARTED, FINISHED = "started", "finished"

_BLOCK_BYTES = 1 << 18
"""Size of the blocks in which the ledger is read from its end [bytes]."""


class Entry(msgspec.Struct, frozen=True, omit_defaults=True, forbid_unknown_fields=True):
    """One line of the ledger. `healed_bytes` is the size of an unfinished line before it, which a crash left."""

    seq: int
    at: str
    event: str
    run: str
    prev: str
    folder: str = ""
    attestation_sha256: str = ""
    outcome: str = ""
    quarantined: bool = False
    healed_bytes: int = 0

    def line(self) -> bytes:
        """Return the line in canonical form: compact JSON in UTF-8, without empty optional fields."""
        return _encode(self) + b"\n"

    @property
    def sha256(self) -> str:
        """Digest of the line, which the next line contains."""
        return digest(self.line())


_encode = msgspec.json.Encoder().encode
_decode = msgspec.json.Decoder(Entry).decode


class Checkpoint(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """The state of the ledger at a time: number of lines, size, and digest of the last line."""

    lines: int
    size_bytes: int
    head_sha256: str
    at: str
    previous_sha256: str

    @property
    def time(self) -> datetime:
        """Signing time, as its signer recorded it."""
        return datetime.fromisoformat(self.at).astimezone(UTC)

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.lines:06d}{CHECKPOINT_SUFFIX}"


_decode_checkpoint = msgspec.json.Decoder(Checkpoint).decode


def digest(line: bytes) -> str:
    """Return the digest of a line."""
    return hashlib.sha256(line).hexdigest()


def append(archive: Path, event: str, run: str, **fields: Any) -> Entry:
    """Append one line; it is on disk when this returns.

    Parameters
    ----------
    archive
        Folder of all runs.
    event
        ``"started"`` or ``"finished"``.
    run
        The run's id.
    fields
        Further fields of `Entry`.

    Raises
    ------
    RecordError
        If it cannot be written; the ledger is then unchanged.
    """
    try:
        with _locked(archive) as descriptor:
            last, torn_bytes = _last(descriptor)
            if torn_bytes:
                os.ftruncate(descriptor, os.fstat(descriptor).st_size - torn_bytes)
            entry = Entry(
                seq=last.seq + 1 if last else 1,
                at=datetime.now(UTC).isoformat(timespec="milliseconds"),
                event=event,
                run=run,
                prev=last.sha256 if last else GENESIS,
                healed_bytes=torn_bytes,
                **fields,
            )
            _write(descriptor, entry.line())
            if entry.seq == 1:
                sync_folder(archive)
            return entry
    except OSError as error:
        raise RecordError(f"the ledger {archive / LEDGER} cannot be written: {error}") from error


def read_ledger(archive: Path) -> Iterator[Entry]:
    """Yield the lines in order, without verifying the chain; an unfinished last line is skipped.

    Raises
    ------
    RecordError
        If a line is not a valid entry.
    """
    path = archive / LEDGER
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield read_entry(line, number)


def read_entry(line: bytes, number: int) -> Entry:
    """Read one line; it must be in the canonical form of `Entry.line`. `number` is 0 where it is not known."""
    where = f"line {number} of the ledger" if number else "a line of the ledger"
    try:
        entry = _decode(line)
        exact = entry.line()
    except (ValueError, msgspec.MsgspecError) as error:
        raise RecordError(f"{where} is not a valid entry: {error}") from error
    if exact != line:
        raise RecordError(f"{where} is not in canonical form: its bytes were changed")
    return entry


def find_entries(archive: Path, run: str) -> dict[str, Entry]:
    """Return the lines of one run by event; other lines are not parsed.

    The search goes from the end of the ledger back to where the run was started, so that the end of a run costs the
    same in an old archive as in a new one.
    """
    path, wanted = archive / LEDGER, b'"run":' + msgspec.json.encode(run)
    found: dict[str, Entry] = {}
    if path.exists():
        with path.open("rb") as file:
            for line in _lines_backwards(file):
                entry = read_entry(line, 0) if wanted in line else None
                if entry and entry.run == run:
                    found[entry.event] = entry
                    if entry.event == STARTED:
                        break
    return found


def _lines_backwards(file: BinaryIO) -> Iterator[bytes]:
    """Yield the complete lines of a file, the last one first."""
    end, rest, whole = file.seek(0, os.SEEK_END), b"", False
    while end:
        start = max(0, end - _BLOCK_BYTES)
        file.seek(start)
        rest, *lines = (file.read(end - start) + rest).split(b"\n")
        for line in reversed(lines):
            if whole:
                yield line + b"\n"
            whole = True
        end = start
    if whole:
        yield rest + b"\n"


def open_runs(archive: Path) -> list[Entry]:
    """Return the `started` lines of runs without a `finished` line: running, or left by a runner that died."""
    waiting: dict[str, Entry] = {}
    for entry in read_ledger(archive):
        if entry.event == STARTED:
            waiting[entry.run] = entry
        else:
            waiting.pop(entry.run, None)
    return list(waiting.values())


def write_checkpoint(archive: Path, key: "SigningKey") -> Path:
    """Sign the current state of the ledger, unless it is signed already; return the checkpoint's path."""
    folder = archive / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    with _locked(archive) as descriptor:
        last, torn_bytes = _last(descriptor)
        if last is None:
            raise RecordError(f"{archive / LEDGER} is empty; nothing to sign")
        earlier = _checkpoint_before(archive, last.seq)
        checkpoint = Checkpoint(
            lines=last.seq,
            size_bytes=os.fstat(descriptor).st_size - torn_bytes,
            head_sha256=last.sha256,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            previous_sha256=hashlib.sha256(earlier.read_bytes()).hexdigest() if earlier else GENESIS,
        )
        path = folder / checkpoint.name
        if not path.exists():
            signed = dsse.sign(msgspec.json.encode(checkpoint), CHECKPOINT_TYPE, key)
            write_atomically(path, signed, redacted=False, drafts=archive)
            path.chmod(0o444)
    return path


def _checkpoint_before(archive: Path, seq: int) -> Path | None:
    """Return the last checkpoint before a line; the folder is listed only where none is near."""
    near = (archive / CHECKPOINTS / f"{n:06d}{CHECKPOINT_SUFFIX}" for n in range(seq - 1, max(0, seq - 100), -1))
    found = next((path for path in near if path.exists()), None)
    if found is not None:
        return found
    earlier = (path for path in checkpoints(archive) if checkpoint_lines(path) < seq)
    return max(earlier, key=checkpoint_lines, default=None)


def checkpoint_lines(path: Path) -> int:
    """Return the number of lines that a checkpoint's name states; 0 for a name of another form."""
    stem = path.name.removesuffix(CHECKPOINT_SUFFIX)
    return int(stem) if stem.isdecimal() else 0


def checkpoints(archive: Path) -> list[Path]:
    """Return the paths of the checkpoints in order."""
    paths = (archive / CHECKPOINTS).glob(f"*{CHECKPOINT_SUFFIX}")
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def open_checkpoint(content: bytes, keys: dsse.PublicKeys) -> Checkpoint:
    """Verify a checkpoint and return it.

    Raises
    ------
    RecordError
        If it is not a checkpoint, or was changed; `dsse.UnknownKey` if no trusted key signed it.
    """
    envelope = dsse.verify(content, keys)
    if envelope.payload_type != CHECKPOINT_TYPE:
        raise RecordError(f"payload type {envelope.payload_type}; expected {CHECKPOINT_TYPE}")
    try:
        checkpoint = _decode_checkpoint(envelope.payload)
        if checkpoint.lines < 1 or checkpoint.time.year < 1:
            raise ValueError(f"{checkpoint.lines} lines at {checkpoint.at}")
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise RecordError(f"not a checkpoint: {error}") from error
    return checkpoint


@contextmanager
def _locked(archive: Path) -> Iterator[int]:
    """Open and lock the ledger for appending."""
    archive.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(archive / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _last(descriptor: int) -> tuple[Entry | None, int]:
    """Return the last complete line, and the size of an unfinished line after it, which was never acknowledged."""
    start = size = os.fstat(descriptor).st_size
    tail = b""
    while start and tail.count(b"\n") < 2:
        start = max(0, start - 4096)
        tail = os.pread(descriptor, size - start, start)
    whole, newline, torn = tail.rpartition(b"\n")
    if not newline:
        return None, len(torn)
    return read_entry(whole.rpartition(b"\n")[2] + b"\n", 0), len(torn)


def _write(descriptor: int, line: bytes) -> None:
    """Append the whole line or none of it."""
    size = os.fstat(descriptor).st_size
    try:
        written = os.write(descriptor, line)
        if written != len(line):
            raise OSError(f"only {written} of {len(line)} bytes were written")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
