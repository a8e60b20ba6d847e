"""The ledger of an archive (``LEDGER.jsonl``): a hash chain with one line when a run starts and one when it ends.

A line contains the SHA-256 of the line before, so that no line can be changed, removed or moved without changing
all later ones; signed checkpoints show that its end is not cut off. Lines are ordered by number, not by time:
clocks may jump.
"""

import fcntl
import hashlib
import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

import msgspec

from opslib.errors import RecordError
from opslib.evidence.run.files import LEDGER
from opslib.evidence.run.record import sync_folder

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


class Head(NamedTuple):
    """The last line of the ledger, and the size of the ledger up to it."""

    last: Entry
    size_bytes: int


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


def line_before(file: BinaryIO, end: int) -> bytes:
    """Return the line of a ledger that ends at an offset; empty where none does."""
    start = max(0, end - _BLOCK_BYTES)
    file.seek(start)
    block = file.read(end - start)
    if len(block) < end - start or not block.endswith(b"\n"):
        return b""
    return block[block.rfind(b"\n", 0, -1) + 1 :]


def open_runs(archive: Path) -> list[Entry]:
    """Return the `started` lines of runs without a `finished` line: running, or left by a runner that died."""
    waiting: dict[str, Entry] = {}
    for entry in read_ledger(archive):
        if entry.event == STARTED:
            waiting[entry.run] = entry
        else:
            waiting.pop(entry.run, None)
    return list(waiting.values())


@contextmanager
def locked_head(archive: Path) -> Iterator[Head | None]:
    """Hold the ledger as it is, and yield its last line; None for an empty one."""
    with _locked(archive) as descriptor:
        last, torn_bytes = _last(descriptor)
        yield Head(last, os.fstat(descriptor).st_size - torn_bytes) if last else None


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
