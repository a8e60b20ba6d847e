"""What a run does besides executing its notebook: the recovery before it, the provenance, the end."""

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from opslib import errors
from opslib.azure.connect import connect
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.finish import Sealed, end_run
from opslib.evidence.run.files import NOTEBOOK
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.notebook import failing_cell
from opslib.evidence.run.provenance import find_commit
from opslib.evidence.run.record import Record, read_record, write_record
from opslib.evidence.run.run_lock import archive_of, free_reserve, release
from opslib.evidence.signing.keys import SigningKey
from opslib.model import Outcome
from opslib.runbook_parameters import RunbookParameters
from opslib.runbooks.notifier import notify_end, notify_recovery
from opslib.runbooks.undo.reap import reap
from opslib.runner.ending import describe_own_undo, find_outcome, undo_if_interrupted
from opslib.runner.guardian import end_kernel
from opslib.runner.watch import Event, Watch

_REAPED = {
    None: "",
    Outcome.SUCCEEDED: "released an expired lease first: ",
    Outcome.HELD: "released an expired lease first: ",
    Outcome.FAILED: "a lease could not be released: ",
}
"""What became of a lease, before the reason."""


def reap_first(parameters: RunbookParameters, archive: Path, on_event: Callable[[Event], None]) -> None:
    """Release an expired lease on the endpoint, and return the traffic that it held, before the run starts."""
    if parameters.dry_run or not parameters.changes:
        return

    def say(text: str) -> None:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": text})

    try:
        notify = partial(notify_recovery, policies=[parameters.policy])
        for reaped in reap(connect(parameters.target), archive, say, parameters.endpoint, before_seal=notify):
            say(f"{_REAPED[reaped.outcome]}{reaped.reason}")
    except errors.OpsError:
        return  # the run itself will report it


def conclude_run(folder: Path, watch: Watch, error: BaseException | None, key: SigningKey) -> Sealed:
    """End what a run started, decide how it ended, notify of it and seal it."""
    end_kernel(folder)  # child processes of the kernel would continue to write
    free_reserve(folder)
    record = _last_record(folder, watch, error)
    notify_end(folder, record)
    return _seal(folder, record, key)


def _last_record(folder: Path, watch: Watch, error: BaseException | None) -> Record:
    """Decide how the run ended, undo what a dead kernel could not, and return the completed record."""
    outcome, reason = find_outcome(folder, watch.stop_reason, error)
    undone = undo_if_interrupted(folder) if outcome in {Outcome.ABORTED, Outcome.FAILED} else ""
    record = read_record(folder)
    if outcome in {Outcome.ABORTED, Outcome.FAILED}:
        state = undone or describe_own_undo(folder, record)
        reason = "; ".join(part for part in (reason.removesuffix("."), state) if part)
    if (record.outcome, record.reason) != (outcome, reason) or record.finished_at is None:
        record = record.ended(outcome, reason)
    broken = outcome in {Outcome.ABORTED, Outcome.FAILED, Outcome.REFUSED}
    return replace(record, kernel=watch.kernel, failing_cell=failing_cell(folder / NOTEBOOK) if broken else "")


def _seal(folder: Path, record: Record, key: SigningKey) -> Sealed:
    """Seal the run; if that fails, raise with the outcome, which would be lost otherwise."""
    try:
        return end_run(folder, record, key)
    except errors.RecordError as error:
        release(folder)
        raise errors.RecordError(
            f"{error}. The run is not sealed. It ended as {record.outcome}: {record.reason}. Fix the cause, then "
            f"run: opslib seal {record.run_id}"
        ) from error


def add_provenance(folder: Path, notebook: Path) -> None:
    """Add to a record the commit of its notebook and the endpoint's previous run, for which others are searched.

    Traffic may have been moved already: a full disk must not keep the notebook from recording it, and is reported
    by the writes of the notebook itself.
    """
    record, (commit, dirty) = read_record(folder), find_commit(notebook)
    rollback = {**record.rollback, "previous_run": _previous_run(folder, record)}
    with suppress(errors.RecordError):
        write_record(folder, replace(record, commit=commit, dirty=dirty, rollback=rollback))


def _previous_run(folder: Path, record: Record) -> str:
    """Return the endpoint's previous run; empty if the archive cannot be read, which must not prevent a run."""
    try:
        rows, _ = find_runs(archive_of(folder), RunQuery(endpoint=record.endpoint, limit=2))
    except (errors.OpsError, OSError, sqlite3.Error):
        return ""
    return next((row.run for row in rows if row.run != record.run_id), "")
