"""Verify an archive or one of its runs: offline, with files and public keys only."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, MONTH_PATTERN, README, RECORD, SEAL
from opslib.evidence.signing import dsse
from opslib.evidence.signing import keys as keyring
from opslib.evidence.signing.approvers import find_approvers
from opslib.evidence.signing.findings import VerifyFinding, VerifyState, incomplete, tampered, unknown_key, worst
from opslib.evidence.verify.verify_ledger import Chain, read_chain, verify_checkpoints
from opslib.evidence.verify.verify_run import verify_open, verify_run, walk

_MONTH = re.compile(MONTH_PATTERN)

OWN = frozenset({LEDGER, CHECKPOINTS, KEYS, README})
"""The entries of an archive beside its months. ``README.md`` and names that start with a dot (index, locks) are not
evidence and are not verified."""


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
        Runs in the ledger, and how many of them are sealed [count].
    pinned
        Whether the keys were kept outside the archive. If not, anyone who can write to the archive could have
        signed.
    head_sha256
        Digest of the ledger's last line, to compare with a copy kept elsewhere.
    """

    state: VerifyState
    findings: tuple[VerifyFinding, ...]
    runs: int
    sealed: int
    pinned: bool
    head_sha256: str


def verify(
    path: Path, keys: Path | None = None, tsa: Path | None = None, *, missing_is_tampered: bool = True
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

    Raises
    ------
    RecordError
        If there is nothing to verify, or the keys cannot be read.
    """
    alone = _is_run(path)
    archive = path.resolve().parent.parent if alone else path
    if alone and not (archive / LEDGER).exists():
        return _verify_lone_folder(path.resolve(), keys)
    if not (archive / LEDGER).exists() and not (archive / CHECKPOINTS).exists():
        raise RecordError(f"{path} is neither an archive (it has no {LEDGER}) nor the folder of a run")
    trusted, pinned, findings = _keys(archive, keys)
    approvers = find_approvers()
    paths = ledger.checkpoints(archive)
    chain = read_chain(archive)
    findings += chain.findings
    findings += verify_checkpoints(archive, paths, chain, trusted, tsa)
    findings += _unlisted(archive, paths, trusted)
    wanted = {path.resolve().name} if alone else chain.runs.keys()
    for run in wanted:
        findings += _verify_one(archive, run, chain, trusted, approvers, missing_is_tampered)
    if not alone:
        findings += _unexpected(archive, chain)
    sealed = sum("finished" in chain.runs.get(run, {}) for run in wanted)
    return Verified(worst(findings), tuple(findings), len(wanted), sealed, pinned, chain.head)


def _is_run(path: Path) -> bool:
    return not (path / LEDGER).exists() and any((path / name).exists() for name in (RECORD, SEAL))


def _verify_lone_folder(folder: Path, keys: Path | None) -> Verified:
    """Verify the seal of a folder that was copied out of its archive."""
    paths = [keys] if keys else keyring.pinned_keys()
    if not paths:
        raise RecordError(
            f"{folder} is not in an archive, so there are no keys to verify it with: pass --keys FILE"
        )
    findings = tuple(verify_run(folder, keyring.read_public_keys(paths), approvers=find_approvers()))
    return Verified(worst(findings), findings, 1, 1, pinned=True, head_sha256="")


def _keys(archive: Path, given: Path | None) -> tuple[dsse.PublicKeys, bool, list[VerifyFinding]]:
    """Return the trusted keys, whether they were kept outside the archive, and findings on the archive's keys."""
    listed: dict[str, keyring.PublicKey] = {}
    findings: list[VerifyFinding] = []
    for path in sorted((archive / KEYS).glob("*")):
        name = f"{KEYS}/{path.name}"
        try:
            one = keyring.read_public_keys([path]) if not path.is_symlink() else {}
        except RecordError as error:
            findings.append(tampered(str(error), file=name))
            continue
        exact = [keyring.public_pem(known.key).encode() for known in one.values()]
        if exact != [path.read_bytes()] or f"{next(iter(one))}.pem" != path.name:
            findings.append(tampered("not the key that the file name identifies", file=name))
        else:
            listed |= one
    apart = [given] if given else keyring.pinned_keys()
    trusted = keyring.read_public_keys(apart) if apart else listed
    strangers = sorted(listed.keys() - trusted.keys())
    findings += [unknown_key("a key in the archive that is not trusted", file=_key_file(k)) for k in strangers]
    own = {keyring.own_key_id()} if not apart else set()
    return trusted, bool(apart) or trusted.keys() <= own, findings


def _unlisted(archive: Path, paths: Iterable[Path], trusted: dsse.PublicKeys) -> Iterator[VerifyFinding]:
    """Yield findings on keys that signed checkpoints and are missing from the archive."""
    used = {keyid for path in paths if path.is_file() for keyid in dsse.signers(path.read_bytes())}
    for keyid in sorted(used & trusted.keys()):
        if not (archive / _key_file(keyid)).is_file():
            yield tampered("removed, although checkpoints are signed by this key", file=_key_file(keyid))


def _key_file(keyid: str) -> str:
    return f"{KEYS}/{keyid}.pem"


def _verify_one(
    archive: Path,
    run: str,
    chain: Chain,
    keys: dsse.PublicKeys,
    approvers: dsse.PublicKeys,
    missing_is_tampered: bool,
) -> Iterable[VerifyFinding]:
    lines = chain.runs.get(run, {})
    if "started" not in lines:
        return [tampered("not in the ledger", run)] if not lines else []
    started, finished = lines["started"], lines.get("finished")
    folder = archive / started.folder
    if folder.is_symlink() or folder.parent.is_symlink():
        return [tampered("the folder is a link", run)]
    if finished is None:
        alive = run_lock.is_held(folder)
        finished = None if alive else _now(archive, run).get("finished")
        if finished is None:
            return verify_open(folder, keys, started, alive=alive)
        lines = {**lines, "finished": finished}  # it ended during this verification
    if not folder.is_dir():
        if missing_is_tampered:
            return [tampered("the folder was removed", run)]
        return [] if finished.quarantined else [incomplete("missing", run)]
    return verify_run(folder, keys, lines, chain.seen_at, approvers)


def _unexpected(archive: Path, chain: Chain) -> Iterator[VerifyFinding]:
    """Yield findings on files and folders in the archive that are not in the ledger."""
    known = {lines["started"].folder for lines in chain.runs.values() if "started" in lines}
    for path in sorted(archive.iterdir()):
        if path.name in OWN or path.name.startswith(".") or _is_loose_notebook(path):
            continue
        if path.is_symlink() or not path.is_dir() or not _MONTH.fullmatch(path.name):
            yield tampered("unexpected file", file=path.name)
            continue
        for inner in sorted(path.iterdir()):
            name = f"{path.name}/{inner.name}"
            if name in known or "started" in _now(archive, inner.name):
                continue
            if inner.is_symlink() or inner.is_file() or any(walk(inner)):
                yield tampered("not in the ledger: it was put there, or its lines were removed", file=name)


def _is_loose_notebook(path: Path) -> bool:
    """Return whether a path is a notebook that papermill alone wrote here: it is not evidence of a run."""
    return path.suffix == ".ipynb" and path.is_file() and not path.is_symlink()


def _now(archive: Path, run: str) -> dict[str, ledger.Entry]:
    """Return the current lines of a run, which may have started or ended during this verification."""
    try:
        return ledger.find_entries(archive, run)
    except RecordError:
        return {}
