"""The ledger of an archive (``LEDGER.jsonl``): a line when a run starts and one when it ends, each naming the last.

A line holds the SHA-256 of the line before, so that none can be changed, dropped or moved without all later ones.
Signed checkpoints (``CHECKPOINTS/NNNNNN.dsse.json``) hold the head at a time, so that the end cannot be cut off
either. Lines are ordered by number, never by time: a clock that jumps breaks nothing.
"""

import fcntl
import hashlib
import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, CHECKPOINTS, LEDGER
from opslib.evidence.run.record import sync_folder, write_atomically
from opslib.evidence.signing import dsse
from opslib.evidence.signing.keys import SigningKey

CHECKPOINT_TYPE = "application/vnd.opslib.checkpoint+json"
GENESIS = "0" * 64
"""What the first line names as the line before."""

STARTED, FINISHED = "started", "finished"


@dataclass(frozen=True)
class Entry:
    """One line. `healed_bytes` counts what a crash had left of an unfinished line before it."""

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
        """The line as it stands in the ledger; fields that say nothing are left out."""
        said = {k: v for k, v in vars(self).items() if v or k == "seq"}
        return json.dumps(said, separators=(",", ":"), ensure_ascii=False).encode() + b"\n"

    @property
    def sha256(self) -> str:
        """What the next line names."""
        return digest(self.line())


@dataclass(frozen=True)
class Checkpoint:
    """The ledger's head at a time: `lines` of them, `size_bytes` long, the last with this digest."""

    lines: int
    size_bytes: int
    head_sha256: str
    at: str
    previous_sha256: str

    @property
    def time(self) -> datetime:
        """When it was signed, as its signer says."""
        return datetime.fromisoformat(self.at).astimezone(UTC)

    @property
    def name(self) -> str:
        """Name of its file."""
        return f"{self.lines:06d}{CHECKPOINT_SUFFIX}"


def digest(line: bytes) -> str:
    """The digest of a line, by which the next one names it."""
    return hashlib.sha256(line).hexdigest()


def append(archive: Path, event: str, run: str, **fields: Any) -> Entry:
    """Append one line, on disk before this returns.

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
        If it cannot be written; the ledger is then as it was.
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
    """Read the lines in order, without judging them; what a crash left of an unfinished last one is left out.

    Raises
    ------
    RecordError
        If a line is none.
    """
    path = archive / LEDGER
    if not path.exists():
        return
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if line.endswith(b"\n"):
                yield read_entry(line, number)


def read_entry(line: bytes, number: int) -> Entry:
    """Read one line; it must be spelled as `Entry.line` spells it."""
    try:
        entry = Entry(**json.loads(line))
        exact = entry.line()
    except (ValueError, TypeError) as error:
        raise RecordError(f"line {number} of the ledger is none: {error}") from error
    if exact != line:
        raise RecordError(f"line {number} of the ledger is not spelled as it was written")
    return entry


def find_entries(archive: Path, run: str) -> dict[str, Entry]:
    """The lines of one run by their event; only they are parsed, since there may be many others."""
    path, wanted = archive / LEDGER, f'"run":{json.dumps(run)}'.encode()
    if not path.exists():
        return {}
    with path.open("rb") as file:
        lines = [(n, line) for n, line in enumerate(file, start=1) if wanted in line and line.endswith(b"\n")]
    entries = [read_entry(line, number) for number, line in lines]
    return {entry.event: entry for entry in entries if entry.run == run}


def open_runs(archive: Path) -> list[Entry]:
    """The `started` lines of runs that have no `finished` one: under way, or left by a runner that died."""
    waiting: dict[str, Entry] = {}
    for entry in read_ledger(archive):
        if entry.event == STARTED:
            waiting[entry.run] = entry
        else:
            waiting.pop(entry.run, None)
    return list(waiting.values())


def write_checkpoint(archive: Path, key: SigningKey) -> Path:
    """Sign the ledger's head as it is now; one that is signed already is left alone."""
    folder = archive / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    with _locked(archive) as descriptor:
        last, torn_bytes = _last(descriptor)
        if last is None:
            raise RecordError(f"{archive / LEDGER} is empty: there is nothing to sign")
        earlier = [path for path in checkpoints(archive) if path.name < f"{last.seq:06d}"]
        checkpoint = Checkpoint(
            lines=last.seq,
            size_bytes=os.fstat(descriptor).st_size - torn_bytes,
            head_sha256=last.sha256,
            at=datetime.now(UTC).isoformat(timespec="milliseconds"),
            previous_sha256=hashlib.sha256(earlier[-1].read_bytes()).hexdigest() if earlier else GENESIS,
        )
        path = folder / checkpoint.name
        if not path.exists():
            signed = dsse.sign(json.dumps(asdict(checkpoint)).encode(), CHECKPOINT_TYPE, key)
            write_atomically(path, signed, redacted=False, drafts=archive)
            path.chmod(0o444)
    return path


def checkpoints(archive: Path) -> list[Path]:
    """The checkpoints' files in order."""
    paths = (archive / CHECKPOINTS).glob(f"*{CHECKPOINT_SUFFIX}")
    return sorted(paths, key=lambda path: (len(path.name), path.name))


def open_checkpoint(content: bytes, keys: dsse.PublicKeys) -> Checkpoint:
    """Read a signed checkpoint.

    Raises
    ------
    RecordError
        If it is none, or was changed; `dsse.UnknownKey` if nobody trusted signed it.
    """
    envelope = dsse.verify(content, keys)
    if envelope.payload_type != CHECKPOINT_TYPE:
        raise RecordError(f"it signs a {envelope.payload_type}, expected a {CHECKPOINT_TYPE}")
    try:
        said: Mapping[str, Any] = json.loads(envelope.payload)
        checkpoint = Checkpoint(**said)
        if checkpoint.lines < 1 or checkpoint.time.year < 1:
            raise ValueError(f"it signs {checkpoint.lines} lines at {checkpoint.at}")
    except (ValueError, TypeError, OverflowError) as error:
        raise RecordError(f"it is not a checkpoint: {error}") from error
    return checkpoint


@contextmanager
def _locked(archive: Path) -> Iterator[int]:
    """Open the ledger for appending, one process at a time."""
    archive.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(archive / LEDGER, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield descriptor
    finally:
        os.close(descriptor)


def _last(descriptor: int) -> tuple[Entry | None, int]:
    """Read the last whole line, and count the bytes of an unfinished one after it, which was never acknowledged."""
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
            raise OSError(f"only {written} of {len(line)} bytes could be written")
        os.fsync(descriptor)
    except OSError:
        os.ftruncate(descriptor, size)
        raise
