"""The seal of a run (``attestation.dsse.json``): the digests of all files of its folder, signed by the runner.

An in-toto Statement v1 in a DSSE envelope. Digests are of raw bytes; nothing is canonicalised.

Source: https://github.com/in-toto/attestation/blob/main/spec/v1/statement.md.
"""

import errno
import hashlib
import json
import os
import stat
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import msgspec

from opslib.errors import RecordError
from opslib.evidence.run.files import SEAL
from opslib.evidence.run.record import Record, write_atomically
from opslib.evidence.signing import dsse
from opslib.evidence.signing.keys import SigningKey

STATEMENT_TYPE = "https://in-toto.io/Statement/v1"
PREDICATE_TYPE = "urn:opslib:run:v1"
PAYLOAD_TYPE = "application/vnd.in-toto+json"

_NOT_A_FILE = frozenset({errno.ENOENT, errno.ENOTDIR, errno.ELOOP, errno.ENXIO})
"""Why a regular file cannot be opened: it is missing, or it is a link, a socket or a pipe."""

_BLOCK_BYTES = 1 << 16
"""Size of the blocks in which files are hashed; malloc(3) maps and unmaps larger ones each time [bytes]."""


@dataclass(frozen=True)
class Attestation:
    """A verified seal: the digest of each file, the run and its first line in the ledger, signing time and key."""

    files: Mapping[str, str]
    run: str
    started_seq: int
    started_sha256: str
    predicate: Mapping[str, Any]
    keyid: str
    sealed_at: datetime


def seal(folder: Path, record: Record, key: SigningKey) -> str:
    """Sign every file of a run's folder and make it read-only; return the attestation's SHA-256.

    A folder that has a seal keeps it.
    """
    path = folder / SEAL
    if not path.exists():
        statement = {
            "_type": STATEMENT_TYPE,
            "subject": [{"name": name, "digest": {"sha256": digest}} for name, digest in digests(folder)],
            "predicateType": PREDICATE_TYPE,
            "predicate": {
                "run": record.run_id,
                "runbook": record.runbook,
                "endpoint": record.endpoint,
                "outcome": record.outcome,
                "exit_code": record.exit_code,
                "quarantined": bool(record.quarantine),
                "sealed_at": datetime.now(UTC).isoformat(timespec="milliseconds"),
                "started": {"seq": record.seq, "sha256": record.started_sha256},
            },
        }
        write_atomically(path, dsse.sign(json.dumps(statement).encode(), PAYLOAD_TYPE, key), redacted=False)
    return hashlib.sha256(path.read_bytes()).hexdigest()


def make_read_only(folder: Path) -> None:
    """Make a folder and its files read-only, so that a viewer cannot save changes by accident."""
    for path in folder.rglob("*"):
        if not path.is_symlink():
            path.chmod(0o555 if path.is_dir() else 0o444)
    folder.chmod(0o555)


def open_attestation(content: bytes, keys: dsse.PublicKeys) -> Attestation:
    """Verify a seal and return its content.

    Raises
    ------
    RecordError
        If it is not a seal, or was changed; `dsse.UnknownKey` if no trusted key signed it.
    """
    envelope = dsse.verify(content, keys)
    try:
        statement = msgspec.json.decode(envelope.payload)
        kinds = (envelope.payload_type, statement["_type"], statement["predicateType"])
        if kinds != (PAYLOAD_TYPE, STATEMENT_TYPE, PREDICATE_TYPE):
            raise RecordError(f"attests {kinds}; expected an in-toto statement with the predicate {PREDICATE_TYPE}")
        predicate = statement["predicate"]
        return Attestation(
            files={subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]},
            run=predicate["run"],
            started_seq=predicate["started"]["seq"],
            started_sha256=predicate["started"]["sha256"],
            predicate=predicate,
            keyid=envelope.keyid,
            sealed_at=datetime.fromisoformat(predicate["sealed_at"]).astimezone(UTC),
        )
    except (ValueError, TypeError, KeyError, msgspec.MsgspecError) as error:
        raise RecordError(f"not the attestation of a run: {error!r}") from error


def digests(folder: Path) -> Iterator[tuple[str, str]]:
    """Yield name and SHA-256 of every file of a folder that a seal covers, in order.

    Raises
    ------
    RecordError
        If it contains anything but regular files: a link may point anywhere.
    """
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.is_symlink() or not (path.is_file() or path.is_dir()):
            raise RecordError(
                f"{path} is not a regular file; a run's folder may contain no others. Remove it and seal again"
            )
        if path.is_file() and name != SEAL:
            yield name, sha256_file(path)


def sha256_file(path: str | Path) -> str:
    """Return the SHA-256 of a file; a link is not followed."""
    digest = hashlib.sha256()
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW)
    try:
        while block := os.read(descriptor, _BLOCK_BYTES):
            digest.update(block)
    finally:
        os.close(descriptor)
    return digest.hexdigest()


def read_regular(path: str | Path) -> bytes | None:
    """Return the content of a file; None if it is missing or is not a regular file, which is never waited for."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _NOT_A_FILE:
            return None
        raise
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        return file.read() if stat.S_ISREG(os.fstat(descriptor).st_mode) else None
