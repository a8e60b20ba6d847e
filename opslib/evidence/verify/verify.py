"""Verify an archive or one run of it: offline, with nothing but files and public keys."""

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, MONTH_PATTERN, README, RECORD, SEAL
from opslib.evidence.signing import approval, dsse
from opslib.evidence.signing import keys as keyring
from opslib.evidence.signing.findings import VerifyFinding, VerifyState, incomplete, tampered, unknown_key, worst
from opslib.evidence.verify.verify_ledger import Chain, read_chain, verify_checkpoints
from opslib.evidence.verify.verify_run import verify_open, verify_run, walk

_MONTH = re.compile(MONTH_PATTERN)

OWN = frozenset({LEDGER, CHECKPOINTS, KEYS, README})
"""What stands in an archive beside the months. ``README.md`` is explanation, and names with a dot are local: an
index, locks. Neither is evidence, and neither is verified."""


@dataclass(frozen=True)
class Verified:
    """What was found.

    Attributes
    ----------
    state
        The worst of the findings.
    findings
        What is wrong, with which run and file.
    runs, sealed
        Runs that the ledger knows, and those of them that are sealed [count].
    pinned
        Whether the keys were kept apart from the archive. If not, whoever can write to it could have signed.
    head_sha256
        Digest of the ledger's last line: what to compare with a copy kept elsewhere.
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
    """Verify.

    Parameters
    ----------
    path
        An archive, the folder of one run in it, or the folder of a run alone.
    keys
        Public keys that are believed (PEM, several in a file). By default this user's trusted keys; where there are
        none, those that came with the archive.
    tsa
        Certificates of the time stamp authority (PEM); without them tokens are compared, not proved.
    missing_is_tampered
        False for a copy that need not hold every run: one that is not there is then incomplete.

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
    approvers = approval.find_approvers()
    paths = ledger.checkpoints(archive)
    chain = read_chain(archive)
    findings += chain.findings
    findings += verify_checkpoints(archive, paths, chain, trusted, tsa)
    findings += _unlisted(archive, paths, trusted)
    wanted = {path.resolve().name} if alone else chain.runs.keys()
    for run in wanted:
        findings += _verify_one(archive, run, chain, trusted, approvers, missing_is_tampered)
    if not alone:
        findings += _strays(archive, chain)
    sealed = sum("finished" in chain.runs.get(run, {}) for run in wanted)
    return Verified(worst(findings), tuple(findings), len(wanted), sealed, pinned, chain.head)


def _is_run(path: Path) -> bool:
    return not (path / LEDGER).exists() and any((path / name).exists() for name in (RECORD, SEAL))


def _verify_lone_folder(folder: Path, keys: Path | None) -> Verified:
    """Verify a folder that was copied out of its archive: its seal only."""
    paths = [keys] if keys else keyring.pinned_keys()
    if not paths:
        raise RecordError(f"{folder} stands alone, without an archive's keys: pass --keys FILE")
    findings = tuple(verify_run(folder, keyring.read_public_keys(paths), approvers=approval.find_approvers()))
    return Verified(worst(findings), findings, 1, 1, pinned=True, head_sha256="")


def _keys(archive: Path, given: Path | None) -> tuple[dsse.PublicKeys, bool, list[VerifyFinding]]:
    """The keys to believe, whether they were kept apart, and what is wrong with those of the archive."""
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
            findings.append(tampered("it is not the key that its name says", file=name))
        else:
            listed |= one
    apart = [given] if given else keyring.pinned_keys()
    trusted = keyring.read_public_keys(apart) if apart else listed
    strangers = sorted(listed.keys() - trusted.keys())
    findings += [unknown_key("the archive lists a key that is not trusted", file=_key_file(k)) for k in strangers]
    own = {keyring.own_key_id()} if not apart else set()
    return trusted, bool(apart) or trusted.keys() <= own, findings


def _unlisted(archive: Path, paths: Iterable[Path], trusted: dsse.PublicKeys) -> Iterator[VerifyFinding]:
    """Keys that signed here and are listed no more."""
    used = {keyid for path in paths if path.is_file() for keyid in dsse.signers(path.read_bytes())}
    for keyid in sorted(used & trusted.keys()):
        if not (archive / _key_file(keyid)).is_file():
            yield tampered("the key that signed here was removed", file=_key_file(keyid))


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
        return [tampered("the ledger does not know it", run)] if not lines else []
    started, finished = lines["started"], lines.get("finished")
    folder = archive / started.folder
    if folder.is_symlink() or folder.parent.is_symlink():
        return [tampered("its folder is a link", run)]
    if finished is None:
        alive = run_lock.is_held(folder)
        finished = None if alive else _now(archive, run).get("finished")
        if finished is None:
            return verify_open(folder, keys, started, alive=alive)
        lines = {**lines, "finished": finished}  # it ended while we looked
    if not folder.is_dir():
        if missing_is_tampered:
            return [tampered("its folder was removed", run)]
        return [] if finished.quarantined else [incomplete("it is not here", run)]
    return verify_run(folder, keys, lines, chain.seen_at, approvers)


def _strays(archive: Path, chain: Chain) -> Iterator[VerifyFinding]:
    """Whatever stands in the archive and is not in the ledger."""
    known = {lines["started"].folder for lines in chain.runs.values() if "started" in lines}
    for path in sorted(archive.iterdir()):
        if path.name in OWN or path.name.startswith(".") or _is_loose_notebook(path):
            continue
        if path.is_symlink() or not path.is_dir() or not _MONTH.fullmatch(path.name):
            yield tampered("it does not belong there", file=path.name)
            continue
        for inner in sorted(path.iterdir()):
            name = f"{path.name}/{inner.name}"
            if name in known or "started" in _now(archive, inner.name):
                continue
            if inner.is_symlink() or inner.is_file() or any(walk(inner)):
                yield tampered(
                    "the ledger does not know it: it was put there, or its lines were removed", file=name
                )


def _is_loose_notebook(path: Path) -> bool:
    """What papermill alone was told to write here: it claims to be no run, and nothing vouches for it."""
    return path.suffix == ".ipynb" and path.is_file() and not path.is_symlink()


def _now(archive: Path, run: str) -> dict[str, ledger.Entry]:
    """The lines of a run that may have begun while we looked."""
    try:
        return ledger.find_entries(archive, run)
    except RecordError:
        return {}
