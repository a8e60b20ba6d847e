"""Verify one run: its seal, and that its folder contains the sealed files unchanged and no others."""

import hashlib
import os
import re
from collections.abc import Callable, Iterator
from datetime import datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive.ledger import Entry
from opslib.evidence.run.files import APPROVALS, SEAL
from opslib.evidence.run.record import read_record
from opslib.evidence.signing import approval, dsse, seal
from opslib.evidence.signing.findings import VerifyFinding, incomplete, tampered, unknown_key

_VIEWERS_COPY = re.compile(r"\.ipynb_checkpoints/(?P<stem>[^/]+)-checkpoint(?P<suffix>\.[^./]+)")
"""The copy that Jupyter's server makes of a notebook that root opens; permissions do not prevent it."""

_PLAIN_NAME = re.compile(r"[A-Za-z0-9_][A-Za-z0-9._-]*(?:/[A-Za-z0-9_][A-Za-z0-9._-]*)*")


def verify_run(
    folder: Path,
    keys: dsse.PublicKeys,
    lines: dict[str, Entry] | None = None,
    seen_at: Callable[[int, str], datetime | None] = lambda _line, _keyid: None,
    approvers: dsse.PublicKeys | None = None,
) -> Iterator[VerifyFinding]:
    """Compare a run with its seal, and its seal with the ledger.

    Parameters
    ----------
    folder
        The run's folder.
    keys
        The trusted public keys.
    lines
        The run's lines in the ledger by event; None for a folder that is not in an archive.
    seen_at
        Returns the earliest time of a line of the ledger that does not depend on a key.
    approvers
        Public keys of the approvers; without them only the number of approvals is compared.
    """
    run = folder.name
    content = seal.read_regular(f"{folder}/{SEAL}")
    if content is None:
        yield tampered("missing, or not a regular file", run, SEAL)
        return
    finished = (lines or {}).get("finished")
    if finished and hashlib.sha256(content).hexdigest() != finished.attestation_sha256:
        yield tampered("not the seal that the ledger names", run, SEAL)
    try:
        attestation = seal.open_attestation(content, keys)
    except dsse.UnknownKey as error:
        yield unknown_key(str(error), run, SEAL)
        return
    except RecordError as error:
        yield tampered(str(error), run, SEAL)
        return
    witnessed = seen_at(finished.seq, attestation.keyid) if finished else None
    objection = keys[attestation.keyid].objection(attestation.sealed_at, witnessed)
    if objection:
        yield unknown_key(objection, run, SEAL)
    yield from _compare_lines(attestation, run, lines)
    findings = list(_compare_files(attestation, folder))
    yield from findings
    if not findings and APPROVALS in attestation.files:
        yield from approval.verify(folder, read_record(folder), attestation.sealed_at, approvers or {})


def _compare_lines(
    attestation: seal.Attestation, run: str, lines: dict[str, Entry] | None
) -> Iterator[VerifyFinding]:
    if attestation.run != run:
        yield tampered(f"seal of {attestation.run}: the folder was renamed or the seal was moved", run, SEAL)
    if lines is None:
        return
    started, finished = lines["started"], lines.get("finished")
    if (attestation.started_seq, attestation.started_sha256) != (started.seq, started.sha256):
        yield tampered("names another start of the run than the ledger", run, SEAL)
    sealed = (str(attestation.predicate.get("outcome")), bool(attestation.predicate.get("quarantined")))
    if finished and sealed != (finished.outcome, finished.quarantined):
        yield tampered(
            f"outcome {sealed[0]}, but {finished.outcome} in the ledger, or another quarantine", run, SEAL
        )


def _compare_files(attestation: seal.Attestation, folder: Path) -> Iterator[VerifyFinding]:
    run, found = folder.name, set[str]()
    for name, regular in walk(folder):
        if name == SEAL or (regular and _is_viewers_copy(attestation, folder, name)):
            continue
        found.add(name)
        if not regular:
            yield tampered("a link or a special file: a run contains regular files only", run, name)
        elif name not in attestation.files:
            yield tampered("added after the run was sealed", run, name)
        elif seal.sha256_file(f"{folder}/{name}") != attestation.files[name]:
            yield tampered("changed after the run was sealed", run, name)
    for name in attestation.files.keys() - found:
        outside = not _PLAIN_NAME.fullmatch(name) or ".." in name.split("/")
        why = "the seal names a path outside the run" if outside else "removed after the run was sealed"
        yield tampered(why, run, name)


def _is_viewers_copy(attestation: seal.Attestation, folder: Path, name: str) -> bool:
    """Return whether a file is a viewer's copy of a sealed file, with the same bytes."""
    match = _VIEWERS_COPY.fullmatch(name)
    sealed = attestation.files.get(f"{match['stem']}{match['suffix']}") if match else None
    return sealed is not None and seal.sha256_file(folder / name) == sealed


def walk(folder: str | Path, prefix: str = "") -> Iterator[tuple[str, bool]]:
    """Yield every file below a folder and whether it is a regular file; links are not followed."""
    with os.scandir(folder) as entries:
        for entry in sorted(entries, key=lambda e: e.name):
            name = f"{prefix}{entry.name}"
            if entry.is_dir(follow_symlinks=False):
                inner = list(walk(entry.path, f"{name}/"))
                yield from inner or [(f"{name}/", False)]
            else:
                yield name, entry.is_file(follow_symlinks=False)


def verify_open(folder: Path, keys: dsse.PublicKeys, started: Entry, *, alive: bool) -> Iterator[VerifyFinding]:
    """Yield the findings on a run without an end in the ledger: how far it got."""
    run = started.run
    if alive:
        yield incomplete("still running", run)
    elif not folder.is_dir() or not any(folder.iterdir()):
        yield incomplete("started, but the folder is missing or empty", run)
    elif (folder / SEAL).exists():
        yield incomplete(
            f"sealed, but the runner died before it added the end to the ledger. Run: opslib seal {run}", run
        )
        yield from verify_run(folder, keys, {"started": started})
    else:
        yield incomplete(f"started, but never ended or sealed. Run: opslib seal {run}", run)
