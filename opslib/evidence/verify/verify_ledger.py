"""Verify the ledger and its checkpoints: each line follows from the one before, and all signed lines are there."""

import hashlib
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, CHECKPOINTS, LEDGER, MONTH_PATTERN, TOKEN_SUFFIX
from opslib.evidence.run.run_lock import is_held
from opslib.evidence.signing import dsse, timestamping
from opslib.evidence.signing.findings import VerifyFinding, incomplete, tampered, unknown_key

_CHECKPOINT = re.compile(rf"\d{{6,}}(?:{re.escape(CHECKPOINT_SUFFIX)}|{re.escape(TOKEN_SUFFIX)})")
_RUN = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")
_MONTH = re.compile(MONTH_PATTERN)


@dataclass(frozen=True)
class Witness:
    """Proof that the first `lines` lines of the ledger existed at a time; `keyid` is empty for a time token."""

    lines: int
    at: datetime
    keyid: str = ""


@dataclass
class Chain:
    """The ledger as read: digest and end of each line, each run's lines by event, findings, independent times."""

    digests: list[str] = field(default_factory=list)
    ends: list[int] = field(default_factory=list)
    runs: dict[str, dict[str, ledger.Entry]] = field(default_factory=dict)
    findings: list[VerifyFinding] = field(default_factory=list)
    witnesses: list[Witness] = field(default_factory=list)

    def seen_at(self, line: int, keyid: str) -> datetime | None:
        """Return the earliest time of a line that does not depend on a key; None without one."""
        return min((w.at for w in self.witnesses if w.lines >= line and w.keyid != keyid), default=None)

    @property
    def head(self) -> str:
        """Digest of the last line."""
        return self.digests[-1] if self.digests else ledger.GENESIS


def read_chain(archive: Path) -> Chain:
    """Read the ledger and record what is wrong with its lines."""
    chain = Chain()
    path = archive / LEDGER
    if path.is_symlink() or not path.is_file():
        chain.findings.append(tampered("missing, or not a regular file", file=LEDGER))
        return chain
    with path.open("rb") as file:
        for number, line in enumerate(file, start=1):
            if not line.endswith(b"\n"):
                chain.findings.append(incomplete("the last line is unfinished, as after a crash", file=LEDGER))
                break
            chain.findings += _add(chain, number, line)
    return chain


def _add(chain: Chain, number: int, line: bytes) -> Iterator[VerifyFinding]:
    """Verify one line and add it to the chain."""
    where = f"{LEDGER}, line {number}"
    before = chain.head
    chain.digests.append(hashlib.sha256(line).hexdigest())
    chain.ends.append((chain.ends[-1] if chain.ends else 0) + len(line))
    try:
        entry = ledger.read_entry(line, number)
    except RecordError as error:
        yield tampered(str(error), file=where)
        return
    if entry.seq != number or entry.prev != before:
        yield tampered(
            "does not follow from the line before: a line was changed, removed or moved", entry.run, where
        )
    if entry.event not in {ledger.STARTED, ledger.FINISHED} or not _RUN.fullmatch(entry.run):
        yield tampered(f"unknown event {entry.event!r} or invalid run id", entry.run, where)
        return
    known = chain.runs.setdefault(entry.run, {})
    if entry.event in known or (entry.event == ledger.FINISHED and not known):
        yield tampered(f"the run is {entry.event} twice, or finished before it was started", entry.run, where)
        return
    if entry.event == ledger.STARTED and not _is_place(entry):
        yield tampered(f"folder is outside the archive: {entry.folder!r}", entry.run, where)
        return
    known[entry.event] = entry


def _is_place(entry: ledger.Entry) -> bool:
    month, slash, run = entry.folder.partition("/")
    return bool(slash) and run == entry.run and _MONTH.fullmatch(month) is not None


def verify_checkpoints(
    archive: Path, paths: Sequence[Path], chain: Chain, keys: dsse.PublicKeys, tsa: Path | None
) -> Iterator[VerifyFinding]:
    """Compare each checkpoint with the ledger and with the checkpoint before.

    `paths` must be listed before the ledger is read, so that a running runner's additions are not findings.
    """
    folder = archive / CHECKPOINTS
    strays = [path for path in folder.iterdir() if not _is_checkpoint(path)] if folder.is_dir() else []
    for path in sorted(strays):
        yield tampered("unexpected file", file=f"{CHECKPOINTS}/{path.name}")
    previous, covered, signed = ledger.GENESIS, 0, dict[str, Witness]()
    for path in paths:
        name = f"{CHECKPOINTS}/{path.name}"
        if path in strays:
            continue
        content = path.read_bytes()
        try:
            checkpoint = ledger.open_checkpoint(content, keys)
        except dsse.UnknownKey as error:
            yield unknown_key(str(error), file=name)
        except RecordError as error:
            yield tampered(str(error), file=name)
        else:
            covered = checkpoint.lines
            yield from (tampered(why, file=name) for why in _misfits(checkpoint, path, chain, previous))
            keyid = next(one for one in dsse.signers(content) if one in keys)
            signed[name] = Witness(covered, checkpoint.time, keyid)
        yield from _verify_token(path, content, tsa, chain, covered)
        previous = hashlib.sha256(content).hexdigest()
    yield from _verify_times(signed, chain, keys)
    yield from _uncovered(archive, chain, covered)


def _verify_token(
    path: Path, content: bytes, tsa: Path | None, chain: Chain, lines: int
) -> Iterator[VerifyFinding]:
    """Verify a checkpoint's time token; add its time to the chain if the issuer is verified."""
    wrong = list(timestamping.verify_token(path, content, tsa))
    yield from wrong
    token_at = None if wrong else timestamping.proven_time(path, tsa)
    if token_at is not None:
        chain.witnesses.append(Witness(lines, token_at))


def _verify_times(signed: Mapping[str, Witness], chain: Chain, keys: dsse.PublicKeys) -> Iterator[VerifyFinding]:
    """Verify signing times; a checkpoint by a key that is not revoked dates what other keys signed before."""
    chain.witnesses += [witness for witness in signed.values() if keys[witness.keyid].revoked is None]
    for name, witness in signed.items():
        objection = keys[witness.keyid].objection(witness.at, chain.seen_at(witness.lines, witness.keyid))
        if objection:
            yield unknown_key(objection, file=name)


def _uncovered(archive: Path, chain: Chain, covered: int) -> Iterator[VerifyFinding]:
    """Yield findings on runs whose end is not covered by a checkpoint."""
    late = [
        e for lines in chain.runs.values() for e in lines.values() if e.event == ledger.FINISHED and e.seq > covered
    ]
    for entry in late:
        if is_held(archive / chain.runs[entry.run][ledger.STARTED].folder):
            continue
        message = (
            "no checkpoint covers the end: the runner died before it signed one, or the checkpoint was removed"
        )
        yield incomplete(message, entry.run, CHECKPOINTS)


def _misfits(checkpoint: ledger.Checkpoint, path: Path, chain: Chain, previous: str) -> Iterator[str]:
    if checkpoint.name != path.name:
        yield f"contains the checkpoint {checkpoint.name}: the file was renamed"
    if checkpoint.previous_sha256 != previous:
        yield "does not follow from the checkpoint before: one was changed or removed"
    if checkpoint.lines > len(chain.digests):
        yield f"signs {checkpoint.lines} lines, but the ledger has {len(chain.digests)}: its end was cut off"
    elif (checkpoint.head_sha256, checkpoint.size_bytes) != (
        chain.digests[checkpoint.lines - 1],
        chain.ends[checkpoint.lines - 1],
    ):
        yield f"line {checkpoint.lines} of the ledger differs from the signed one: the ledger was rewritten"


def _is_checkpoint(path: Path) -> bool:
    return bool(_CHECKPOINT.fullmatch(path.name)) and path.is_file() and not path.is_symlink()
