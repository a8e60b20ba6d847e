"""Verify the checkpoints of the ledger: all signed lines are there, and no checkpoint is missing."""

import hashlib
import os
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.archive.checkpoints import Checkpoint, open_checkpoint
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, CHECKPOINTS, TOKEN_SUFFIX
from opslib.evidence.run.run_lock import is_held
from opslib.evidence.signing import dsse, timestamping
from opslib.evidence.signing.findings import VerifyFinding, incomplete, tampered, unknown_key
from opslib.evidence.signing.seal import read_regular
from opslib.evidence.verify.baseline import Baseline
from opslib.evidence.verify.chain import Chain, Witness
from opslib.processes import map_over_cores

_CHECKPOINT = re.compile(rf"\d{{6,}}(?:{re.escape(CHECKPOINT_SUFFIX)}|{re.escape(TOKEN_SUFFIX)})")


@dataclass(frozen=True)
class Opened:
    """A checkpoint's file as read and verified by itself; `checkpoint` is None where a finding is the reason."""

    name: str
    sha256: str
    signers: tuple[str, ...]
    checkpoint: Checkpoint | None
    keyid: str
    findings: tuple[VerifyFinding, ...]
    token_findings: tuple[VerifyFinding, ...]
    token_at: datetime | None


def open_checkpoints(paths: Sequence[Path], keys: dsse.PublicKeys, tsa: Path | None) -> list[Opened]:
    """Read checkpoints and verify the signature and the time token of each, over the cores of the machine.

    `paths` must be listed before the ledger is read, so that a running runner's additions are not findings.
    """

    def work(some: Sequence[Path]) -> list[Opened | None]:
        return [_open(path, keys, tsa) for path in some]

    opened = map_over_cores(work, [path for path in paths if _CHECKPOINT.fullmatch(path.name)])
    return [one for one in opened if one]


def _open(path: Path, keys: dsse.PublicKeys, tsa: Path | None) -> Opened | None:
    """Return what a checkpoint holds; None for what is not a regular file, which is listed as unexpected."""
    name, content = f"{CHECKPOINTS}/{path.name}", read_regular(path)
    if content is None:
        return None
    checkpoint, findings = None, list[VerifyFinding]()
    signers = tuple(dsse.signers(content))
    try:
        checkpoint = open_checkpoint(content, keys)
    except dsse.UnknownKey as error:
        findings.append(unknown_key(str(error), file=name))
    except RecordError as error:
        findings.append(tampered(str(error), file=name))
    wrong = tuple(timestamping.verify_token(path, content, tsa))
    return Opened(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        signers=signers,
        checkpoint=checkpoint,
        keyid=next(key for key in signers if key in keys) if checkpoint else "",
        findings=tuple(findings),
        token_findings=wrong,
        token_at=None if wrong else timestamping.proven_time(path, tsa),
    )


def verify_checkpoints(
    archive: Path,
    opened: Sequence[Opened],
    chain: Chain,
    keys: dsse.PublicKeys,
    baseline: Baseline | None = None,
) -> Iterator[VerifyFinding]:
    """Compare each checkpoint with the ledger and with the checkpoint before; after a baseline, only later ones."""
    folder = archive / CHECKPOINTS
    for name in sorted(_strays(folder)) if folder.is_dir() else []:
        yield tampered("unexpected file", file=f"{CHECKPOINTS}/{name}")
    previous, covered, signed = ledger.GENESIS, 0, dict[str, Witness]()
    if baseline:
        previous, covered = baseline.checkpoint_sha256, baseline.checkpoint_lines
    for one in opened:
        yield from one.findings
        if one.checkpoint:
            covered = one.checkpoint.lines
            yield from (tampered(why, file=one.name) for why in _misfits(one.checkpoint, one.name, chain, previous))
            signed[one.name] = Witness(covered, one.checkpoint.time, one.keyid)
        yield from one.token_findings
        if one.token_at:
            chain.witness(Witness(covered, one.token_at))
        previous = one.sha256
    yield from _verify_times(signed, chain, keys)
    yield from _uncovered(archive, chain, covered)


def _verify_times(signed: Mapping[str, Witness], chain: Chain, keys: dsse.PublicKeys) -> Iterator[VerifyFinding]:
    """Verify signing times; a checkpoint by a key that is not revoked dates what other keys signed before."""
    chain.witness(*(witness for witness in signed.values() if keys[witness.keyid].revoked is None))
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


def _misfits(checkpoint: Checkpoint, name: str, chain: Chain, previous: str) -> Iterator[str]:
    if f"{CHECKPOINTS}/{checkpoint.name}" != name:
        yield f"contains the checkpoint {checkpoint.name}: the file was renamed"
    if checkpoint.previous_sha256 != previous:
        yield "does not follow from the checkpoint before: one was changed or removed"
    if checkpoint.lines > chain.lines:
        yield f"signs {checkpoint.lines} lines, but the ledger has {chain.lines}: its end was cut off"
    elif (checkpoint.head_sha256, checkpoint.size_bytes) != chain.state_at(checkpoint.lines):
        yield f"line {checkpoint.lines} of the ledger differs from the signed one: the ledger was rewritten"


def _strays(folder: Path) -> list[str]:
    """Return the names of what is no checkpoint and no token; a link is neither."""
    with os.scandir(folder) as entries:
        return [e.name for e in entries if not (_CHECKPOINT.fullmatch(e.name) and e.is_file(follow_symlinks=False))]
