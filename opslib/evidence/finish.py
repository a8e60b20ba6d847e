"""Begin and end a run: add its start to the ledger, later seal its folder and add its end.

Used by the runner, and by whatever ends a run in its place: guardian, recovery or a person. The kernel never seals,
because the seal attests the kernel's code. Every step of `end_run` can be repeated: after a crash between any two
writes, a second call completes the rest.
"""

import contextlib
import re
from dataclasses import dataclass, replace
from datetime import datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.archive.checkpoints import write_checkpoint
from opslib.evidence.run import decisions
from opslib.evidence.run.files import LEDGER, RECORD, SEAL
from opslib.evidence.run.record import Record, read_record, write_atomically, write_record
from opslib.evidence.run.run_lock import archive_of, free_reserve, hold, is_held, release, reserve
from opslib.evidence.signing import seal, timestamping
from opslib.evidence.signing.keys import SigningKey, find_signing_key, store_public_key
from opslib.model import Outcome
from opslib.redaction import redact

_NOT_IN_NAMES = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]")
"""Control characters, a backslash, and bytes that are not UTF-8, which Python reads as surrogates."""


@dataclass(frozen=True)
class Sealed:
    """A sealed run: its record, the digest of its seal, and a notice for the user if the key is new."""

    record: Record
    attestation_sha256: str
    notice: str = ""


def begin_run(folder: Path, record: Record) -> Record:
    """Lock a run, add it to the ledger as ``started`` and write its first ``run.json``.

    Disk space for its end is reserved.

    Parameters
    ----------
    folder
        The run's folder, created by `run_folders.new_folder`; its name is the run's id.
    record
        The record so far.

    Returns
    -------
    Record
        The record with its line in the ledger.

    Raises
    ------
    RecordError
        If it cannot be written: a run without evidence must not start.
    """
    archive = archive_of(folder)
    hold(archive, folder.name)
    reserve(folder)
    where = folder.relative_to(archive).as_posix()
    entry = ledger.append(archive, ledger.STARTED, folder.name, folder=where)
    record = replace(record, seq=entry.seq, previous_sha256=entry.prev, started_sha256=entry.sha256)
    write_record(folder, record)
    return record


def end_run(folder: Path, record: Record, key: SigningKey | None = None) -> Sealed:
    """Complete the evidence, mask and scan it, seal it, and add the run to the ledger as ``finished``.

    Parameters
    ----------
    folder
        The run's folder.
    record
        The record with its outcome (`Record.ended`).
    key
        The key that signs; by default the configured one.

    Returns
    -------
    Sealed
        The record as sealed, with gates, correlation ids and the result of the last scan.

    Raises
    ------
    RecordError
        If the run has no outcome, is not in the ledger, is locked by another process, or a file cannot be written.
    """
    if record.outcome is None or record.finished_at is None:
        raise RecordError(f"{record.run_id} has no outcome; set it first (Record.ended)")
    archive = archive_of(folder)
    hold(archive, folder.name)
    free_reserve(folder)
    lines = ledger.find_entries(archive, folder.name)
    if ledger.STARTED not in lines:
        release(folder)
        raise RecordError(f"{folder.name} is not in the ledger {archive / LEDGER}: it was never started")
    key = key or find_signing_key()
    notice = store_public_key(archive, key)
    record = read_record(folder) if (folder / SEAL).exists() else _complete(folder, record)
    digest = seal.seal(folder, record, key)
    seal.make_read_only(folder)
    if ledger.FINISHED not in lines:
        ledger.append(
            archive,
            ledger.FINISHED,
            folder.name,
            attestation_sha256=digest,
            outcome=str(record.outcome),
            quarantined=bool(record.quarantine),
        )
    timestamping.add_token(write_checkpoint(archive, key))
    release(folder)
    return Sealed(record, digest, notice)


def _complete(folder: Path, record: Record) -> Record:
    """Write what is derived from the journal, mask every file once more, and scan the result for secrets."""
    _drop_drafts(folder)
    record = replace(record, **decisions.write_decisions(folder))
    write_record(folder, record)
    with contextlib.suppress(RecordError):
        from opslib.evidence.present.report import write_report  # noqa: PLC0415 - importing takes a second

        write_report(folder, record)
    _mask_names(folder)
    masked = [_mask(path, folder) for path in sorted(folder.rglob("*")) if path.is_file() and not path.is_symlink()]
    record = replace(
        record,
        redactions=sum(count for count, _ in masked),
        quarantine=tuple(finding for _, findings in masked for finding in findings),
    )
    write_record(folder, record)
    return read_record(folder)


def _drop_drafts(folder: Path) -> None:
    """Remove drafts that a killed process left, and a viewer's checkpoints."""
    for path in sorted(folder.rglob(".*"), reverse=True):
        if path.is_dir() and not path.is_symlink():
            for inner in sorted(path.rglob("*"), reverse=True):
                inner.rmdir() if inner.is_dir() and not inner.is_symlink() else inner.unlink()
            path.rmdir()
        elif path.exists() or path.is_symlink():
            path.unlink()


def _mask_names(folder: Path) -> None:
    """Rename files whose names contain a secret, or what neither text nor the name of a blob can."""
    for number, path in enumerate(sorted(folder.rglob("*"), reverse=True)):
        name = _NOT_IN_NAMES.sub("_", redact.redact(path.name))
        if name != path.name:
            path.rename(path.with_name(f"{number}-{name}"))


def _mask(path: Path, folder: Path) -> tuple[int, list[str]]:
    """Mask secrets in one file; return the number of masks, and where a pattern of a secret was found."""
    text = path.read_bytes().decode("utf-8", "surrogateescape")
    masked = redact.redact(text)
    found = redact.find_patterns(masked)
    masked = redact.mask_patterns(masked) if found else masked
    if masked != text:
        write_atomically(path, masked.encode("utf-8", "surrogateescape"))
    return masked.count(redact.MASK), [f"{path.relative_to(folder).as_posix()}: {name}" for name in found]


def unfinished_runs(archive: Path) -> list[tuple[ledger.Entry, bool]]:
    """Return the runs that were started and not finished, and whether the process of each is alive."""
    return [(entry, is_held(archive / entry.folder)) for entry in ledger.open_runs(archive)]


def require_unfinished(folder: Path) -> None:
    """Require that nothing runs any more and that the run is not sealed, so that a file can be added to it.

    Raises
    ------
    RecordError
        If its process is alive, or it is sealed.
    """
    _require_ended(folder)
    if (folder / SEAL).exists():
        raise RecordError(f"{folder.name} is sealed: nothing can be added to its evidence")


def _require_ended(folder: Path) -> None:
    if is_held(folder):
        raise RecordError(f"{folder.name} is still running. Wait until it ends, or stop it")


def end_unfinished(folder: Path) -> Sealed:
    """End and seal a run that was left unfinished: a notebook run by hand, or a run whose runner died.

    A run that recorded its outcome keeps it; any other becomes ``aborted``. Traffic is not changed.

    Raises
    ------
    RecordError
        If its process is alive, or it is not in the ledger.
    """
    _require_ended(folder)
    record = read_record(folder) if (folder / RECORD).exists() else _bare_record(folder)
    if record.outcome is None or record.finished_at is None:
        record = record.ended(Outcome.ABORTED, "no outcome was recorded: its process died or was closed")
    return end_run(folder, record)


def _bare_record(folder: Path) -> Record:
    """Return a record from the ledger alone, for a run that died before its first record."""
    entry = ledger.find_entries(archive_of(folder), folder.name).get(ledger.STARTED)
    if entry is None:
        raise RecordError(f"{folder.name} is not in the ledger {archive_of(folder) / LEDGER}: it was never started")
    record = Record(folder.name, "", "", {}, datetime.fromisoformat(entry.at))
    return replace(record, seq=entry.seq, previous_sha256=entry.prev, started_sha256=entry.sha256)
