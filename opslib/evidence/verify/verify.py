"""Verify an archive or one of its runs: offline, with files and public keys only."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.archive.checkpoints import checkpoint_lines, find_checkpoints
from opslib.evidence.archive.run_row import as_utc
from opslib.evidence.run.files import CHECKPOINTS, LEDGER, RECORD, SEAL
from opslib.evidence.signing.approvers import find_approvers
from opslib.evidence.signing.findings import VerifyFinding, VerifyState, worst
from opslib.evidence.signing.keys import find_signing_key
from opslib.evidence.signing.public_keys import pinned_keys, read_public_keys
from opslib.evidence.verify.baseline import Baseline, read_baseline, write_baseline
from opslib.evidence.verify.chain import Chain, read_chain
from opslib.evidence.verify.trust import Trust, find_trust, unlisted_keys
from opslib.evidence.verify.verify_folders import find_removed, find_unexpected, verify_folders
from opslib.evidence.verify.verify_ledger import Opened, open_checkpoints, verify_checkpoints
from opslib.evidence.verify.verify_run import verify_run


@dataclass(frozen=True)
class Taken:
    """What a verification took from a baseline instead of reading it: when and by which key it was verified."""

    at: str
    keyid: str
    lines: int
    checkpoints: int
    runs: int


@dataclass(frozen=True)
class Verified:
    """The result of a verification.

    Attributes
    ----------
    state
        The worst of the findings.
    findings
        What is wrong, in which run and file.
    runs, sealed
        Runs that were verified now, and how many of them are sealed [count].
    pinned
        Whether the keys were kept outside the archive. If not, anyone who can write to the archive could have
        signed.
    head_sha256
        Digest of the ledger's last line, to compare with a copy kept elsewhere.
    taken
        What was taken from a baseline; None for a verification of everything.
    baseline
        What a later verification can continue from; None for one run, and where something is tampered with or
        signed by an unknown key.
    """

    state: VerifyState
    findings: tuple[VerifyFinding, ...]
    runs: int
    sealed: int
    pinned: bool
    head_sha256: str
    taken: Taken | None = None
    baseline: Baseline | None = None


def verify(
    path: Path,
    keys: Path | None = None,
    tsa: Path | None = None,
    *,
    missing_is_tampered: bool = True,
    since: Path | None = None,
) -> Verified:
    """Verify an archive, a run of it, or the folder of a run alone.

    Parameters
    ----------
    path
        An archive, the folder of one run in it, or the folder of a run alone.
    keys
        File of trusted public keys (PEM). By default this user's trusted keys; without them, the archive's own.
    tsa
        Certificates of the time stamp authority (PEM); without them the issuer of time tokens is not verified.
    missing_is_tampered
        False for a partial copy: a missing run is then incomplete, not tampered.
    since
        A baseline: the runs that it covers are not read again. By default everything is read.

    Raises
    ------
    RecordError
        If there is nothing to verify, the keys cannot be read, or the baseline cannot be trusted.
    """
    alone = _is_run(path)
    archive = path.resolve().parent.parent if alone else path
    if alone and since:
        raise RecordError("a baseline is of a whole archive: verify one run without --since")
    if alone and not (archive / LEDGER).exists():
        return _verify_lone_folder(path.resolve(), keys)
    if not (archive / LEDGER).exists() and not (archive / CHECKPOINTS).exists():
        raise RecordError(f"{path} is neither an archive (it has no {LEDGER}) nor the folder of a run")
    trust, findings = find_trust(archive, keys, tsa)
    baseline, signer = read_baseline(since, trust.keys, trust.digest()) if since else (None, "")
    paths = find_checkpoints(archive)
    new = [p for p in paths if not baseline or checkpoint_lines(p) > baseline.checkpoint_lines]
    opened = open_checkpoints(new, trust.keys, tsa)
    chain = read_chain(archive, baseline)
    findings += chain.findings
    findings += verify_checkpoints(archive, opened, chain, trust.keys, baseline)
    findings += unlisted_keys(archive, opened, trust)
    wanted = [path.resolve().name] if alone else list(chain.runs)
    findings += verify_folders(archive, wanted, chain, trust, missing_is_tampered=missing_is_tampered)
    if not alone:
        findings += find_unexpected(archive, chain)
    if baseline:
        findings += find_removed(archive, chain, baseline, len(paths) - len(new), missing_is_tampered)
    sealed = sum("finished" in chain.runs.get(run, {}) for run in wanted)
    result = Verified(worst(findings), tuple(findings), len(wanted), sealed, trust.pinned, chain.head)
    if baseline:
        lines, checkpoints, runs = baseline.lines, baseline.checkpoints, len(chain.verified)
        result = replace(result, taken=Taken(as_utc(baseline.at), signer, lines, checkpoints, runs))
    if alone or result.state not in {VerifyState.SOUND, VerifyState.INCOMPLETE}:
        return result
    return replace(result, baseline=_baseline(archive, chain, opened, result, (baseline, trust)))


def save_baseline(verified: Verified, path: Path) -> None:
    """Sign the baseline of a verification with this user's key, and write it.

    Raises
    ------
    RecordError
        If there is none: something is not sound, or only one run was verified.
    """
    if verified.baseline is None:
        raise RecordError(f"no baseline was written to {path}: the state of the archive is {verified.state}")
    write_baseline(path, verified.baseline, find_signing_key())


def _baseline(
    archive: Path,
    chain: Chain,
    opened: Sequence[Opened],
    verified: Verified,
    before: tuple[Baseline | None, Trust],
) -> Baseline:
    """Return the baseline of a verification; what was not verified to the end is left to the next one."""
    earlier, trust = before
    open_runs = {run for run, lines in chain.runs.items() if "finished" not in lines}
    pending = open_runs | {finding.run for finding in verified.findings if finding.run}
    with (archive / LEDGER).open("rb") as file:
        known = file.read(chain.ends[-1])
    last = opened[-1] if opened else None
    return Baseline(
        at=datetime.now(UTC),
        lines=chain.lines,
        size_bytes=chain.ends[-1],
        head_sha256=chain.head,
        ledger_sha256=hashlib.sha256(known).hexdigest(),
        checkpoints=len(opened) + (earlier.checkpoints if earlier else 0),
        checkpoint_lines=last.checkpoint.lines
        if last and last.checkpoint
        else earlier.checkpoint_lines
        if earlier
        else 0,
        checkpoint_sha256=last.sha256 if last else earlier.checkpoint_sha256 if earlier else ledger.GENESIS,
        runs=len(chain.verified) + len(chain.runs) - len(pending),
        pending=tuple(sorted(pending)),
        trust_sha256=trust.digest(),
    )


def _is_run(path: Path) -> bool:
    return not (path / LEDGER).exists() and any((path / name).exists() for name in (RECORD, SEAL))


def _verify_lone_folder(folder: Path, keys: Path | None) -> Verified:
    """Verify the seal of a folder that was copied out of its archive."""
    paths = [keys] if keys else pinned_keys()
    if not paths:
        raise RecordError(
            f"{folder} is not in an archive, so there are no keys to verify it with: pass --keys FILE"
        )
    findings = tuple(verify_run(folder, read_public_keys(paths), approvers=find_approvers()))
    return Verified(worst(findings), findings, 1, 1, pinned=True, head_sha256="")
