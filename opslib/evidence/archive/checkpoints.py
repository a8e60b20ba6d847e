"""Signed checkpoints of the ledger (``CHECKPOINTS/NNNNNN.dsse.json``).

A checkpoint contains the number of lines, the size and the digest of the last line at a time, so that the end of
the ledger cannot be cut off; and the digest of the checkpoint before, so that none can be removed.
"""

import hashlib
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from opslib.errors import RecordError
from opslib.evidence.archive.ledger import GENESIS, locked_head
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, CHECKPOINTS, LEDGER
from opslib.evidence.run.record import write_atomically
from opslib.evidence.signing import dsse

if TYPE_CHECKING:
    from opslib.evidence.signing.keys import SigningKey

CHECKPOINT_TYPE = "application/vnd.opslib.checkpoint+json"


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


_decode = msgspec.json.Decoder(Checkpoint).decode


def write_checkpoint(archive: Path, key: "SigningKey") -> Path:
    """Sign the current state of the ledger, unless it is signed already; return the checkpoint's path."""
    folder = archive / CHECKPOINTS
    folder.mkdir(exist_ok=True)
    with locked_head(archive) as head:
        if head is None:
            raise RecordError(f"{archive / LEDGER} is empty; nothing to sign")
        earlier = _checkpoint_before(archive, head.last.seq)
        checkpoint = Checkpoint(
            lines=head.last.seq,
            size_bytes=head.size_bytes,
            head_sha256=head.last.sha256,
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
    earlier = (path for path in find_checkpoints(archive) if checkpoint_lines(path) < seq)
    return max(earlier, key=checkpoint_lines, default=None)


def checkpoint_lines(path: Path) -> int:
    """Return the number of lines that a checkpoint's name states; 0 for a name of another form."""
    stem = path.name.removesuffix(CHECKPOINT_SUFFIX)
    return int(stem) if stem.isdecimal() else 0


def find_checkpoints(archive: Path) -> list[Path]:
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
        checkpoint = _decode(envelope.payload)
        if checkpoint.lines < 1 or checkpoint.time.year < 1:
            raise ValueError(f"{checkpoint.lines} lines at {checkpoint.at}")
    except (ValueError, OverflowError, msgspec.MsgspecError) as error:
        raise RecordError(f"not a checkpoint: {error}") from error
    return checkpoint
