"""A baseline: the signed statement that an archive was verified up to a line of its ledger.

A later verification continues from it. It does not read the runs again that the baseline covers, and reports so: a
file of such a run that was changed afterwards is found by a full verification only.
"""

import hashlib
from collections.abc import Iterable
from datetime import UTC, datetime
from pathlib import Path

import msgspec

from opslib.errors import RecordError
from opslib.evidence.run.record import write_atomically
from opslib.evidence.signing import dsse
from opslib.evidence.signing.keys import SigningKey, find_signing_key, own_key_id
from opslib.evidence.signing.public_keys import PublicKey

PAYLOAD_TYPE = "application/vnd.opslib.verified+json"


class Baseline(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """What was verified, and when.

    Attributes
    ----------
    at
        Time of the verification, as its signer recorded it.
    lines, size_bytes, head_sha256, ledger_sha256
        The ledger then: its lines, its size, the digest of its last line and of all its bytes.
    checkpoints, checkpoint_lines, checkpoint_sha256
        Number of checkpoints, the lines that the last one covers, and the digest of its file.
    runs
        Number of runs that were verified [count].
    pending
        Runs that had not ended or were incomplete: the next verification reads them.
    trust_sha256
        Digest of the keys that were trusted, with their limits.
    """

    at: datetime
    lines: int
    size_bytes: int
    head_sha256: str
    ledger_sha256: str
    checkpoints: int
    checkpoint_lines: int
    checkpoint_sha256: str
    runs: int
    pending: tuple[str, ...]
    trust_sha256: str


_decode = msgspec.json.Decoder(Baseline).decode


def write_baseline(path: Path, baseline: Baseline, key: SigningKey) -> None:
    """Sign a baseline and write it."""
    signed = dsse.sign(msgspec.json.encode(baseline), PAYLOAD_TYPE, key)
    write_atomically(path, signed, redacted=False)


def read_baseline(path: Path, trusted: dsse.PublicKeys, trust_sha256: str) -> tuple[Baseline, str]:
    """Verify a baseline; return it and the id of the key that signed it.

    Raises
    ------
    RecordError
        If it is not a baseline by a trusted key or by this user's own one, or other keys were trusted then.
    """
    try:
        opened = dsse.verify(path.read_bytes(), {**trusted, **_own()})
        baseline = _decode(opened.payload)
    except OSError as error:
        raise RecordError(f"cannot read the baseline {path}: {error.strerror}") from error
    except (RecordError, msgspec.MsgspecError) as error:
        raise RecordError(f"{path} is not a baseline that can be trusted: {error}") from error
    known = trusted.get(opened.keyid)
    objection = known.objection(baseline.at.astimezone(UTC), None) if known else ""
    if opened.payload_type != PAYLOAD_TYPE or objection:
        why = objection or f"payload type {opened.payload_type}; expected {PAYLOAD_TYPE}"
        raise RecordError(f"{path} is not a baseline that can be trusted: {why}")
    if baseline.trust_sha256 != trust_sha256:
        raise RecordError(
            f"the trusted keys, their limits, or the time stamp authority are not those of the baseline {path}: "
            "verify without --since, and save a new baseline"
        )
    return baseline, opened.keyid


def trust_digest(keys: dsse.PublicKeys, approvers: dsse.PublicKeys, files: Iterable[Path | None]) -> str:
    """Return the digest of everything that a verification trusts: keys and approvers with limits, other files."""
    limits = [
        [name, keyid, one.who, *(str(limit) for limit in (one.not_before, one.not_after, one.revoked))]
        for name, known in (("key", keys), ("approver", approvers))
        for keyid, one in sorted(known.items())
    ]
    contents = [hashlib.sha256(path.read_bytes()).hexdigest() if path else "" for path in files]
    return hashlib.sha256(msgspec.json.encode([limits, contents])).hexdigest()


def _own() -> dsse.PublicKeys:
    """Return this user's own public key, if there is one."""
    if not own_key_id():
        return {}
    key = find_signing_key()
    return {key.id: PublicKey(key.private.public_key())}
