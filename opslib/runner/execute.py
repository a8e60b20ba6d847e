"""Execute a runbook, and say truly how it ended.

papermill alone calls a notebook completed whose kernel was killed, whose cell ran `sys.exit(0)`, or that was
interrupted. Here a run is a success only if every cell ran, nothing raised, and the run's own record says so.
"""

import hashlib
import json
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib import errors
from opslib.azure.connect import connect
from opslib.errors import ParameterError
from opslib.evidence.archive.archive import new_folder
from opslib.evidence.archive.index import Query, find
from opslib.evidence.finish import Sealed, begin_run, end_run
from opslib.evidence.run.files import APPROVALS, JOURNAL, NOTEBOOK
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.notebook import failing_cell
from opslib.evidence.run.provenance import find_commit, find_executor
from opslib.evidence.run.record import Record, Request, read_record, write_atomically
from opslib.evidence.run.run_lock import archive_of, make_room, release
from opslib.evidence.signing import approval
from opslib.evidence.signing.keys import SigningKey, find_signing_key
from opslib.model import Outcome
from opslib.parameters import RUNBOOKS, CanaryParameters, RunbookParameters
from opslib.redaction.kernel_pipes import secrets_pipe
from opslib.runbooks.run import new_record
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run
from opslib.runbooks.undo.reap import reap
from opslib.runner.guardian import end_kernel, guarded
from opslib.runner.notebooks import find_notebook
from opslib.runner.papermill_engine import Event, Watch, execute_watched

MIN_HANG_TIMEOUT_S = 60.0
"""A kernel that imports or plots on a busy machine gives no sign for some seconds, and does not hang [seconds]."""


def execute(
    runbook: str,
    given: Mapping[str, Any],
    archive: Path,
    timeout_s: float | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    request: Request | None = None,
) -> tuple[Path, Record]:
    """Execute a runbook and leave one folder of evidence.

    Parameters
    ----------
    runbook
        Name of the notebook.
    given
        Parameters by name; text is read as YAML where text is not what is meant.
    archive
        Folder of all runs.
    timeout_s
        Longest time from start to end; then the kernel is interrupted, undoes its work, and the run is aborted
        [seconds]. None waits for ever.
    on_event
        Called with every line of the run's journal as it appears.
    request
        The change as the organisation knows it: ticket, requester, approvals.

    Returns
    -------
    folder, record
        Where the evidence is, and how the run ended.

    Raises
    ------
    ParameterError
        Before anything is started, if there is no such runbook or a parameter is wrong.
    RecordError
        If the evidence cannot be written; what was begun has then been taken back all the same.
    """
    if runbook not in RUNBOOKS:
        raise ParameterError(f"there is no runbook {runbook!r}: expected one of {', '.join(sorted(RUNBOOKS))}")
    parameters = RUNBOOKS[runbook].check(given)
    notebook = find_notebook(runbook)
    key = _signing_key()
    request = _agreed(request or Request(), key)
    _reap_first(parameters, archive, on_event)
    folder = new_folder(archive, runbook, parameters.endpoint)
    moves_traffic = runbook == "canary" and not parameters.dry_run
    hang_s = _hang_s(parameters)
    with guarded(folder, hang_s) if moves_traffic and hang_s else nullcontext(), secrets_pipe() as secrets:
        begin_run(folder, _first_record(parameters, folder, notebook, request))
        if request.signed:
            write_atomically(folder / APPROVALS, "".join(request.signed), redacted=False)
        watch = Watch(folder, archive, timeout_s, hang_s, on_event, secrets)
        error = execute_watched(notebook, _wanted(parameters, given), watch)
        end_kernel(folder)  # what it left behind would go on writing
        make_room(folder)
        sealed = _seal(folder, _last_record(folder, watch, error), key)
    if sealed.notice:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": sealed.notice})
    return folder, sealed.record


def _reap_first(parameters: RunbookParameters, archive: Path, on_event: Callable[[Event], None]) -> None:
    """Give back what an expired lease left on the endpoint, before anything new begins."""
    if parameters.dry_run:
        return

    def say(text: str) -> None:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": text})

    try:
        for reaped in reap(connect(parameters.target), archive, say, parameters.endpoint):
            say(f"released an expired lease first: {reaped.reason}" if reaped.outcome else reaped.reason)
    except errors.OpsError:
        return  # the run itself will say what is wrong


def _signing_key() -> SigningKey:
    """Find the key before anything begins: a run that nobody could seal is refused."""
    try:
        return find_signing_key()
    except errors.RecordError as error:
        raise ParameterError(f"the run was not begun, since nobody could seal it: {error}") from error


def _agreed(request: Request, key: SigningKey) -> Request:
    """Check who agreed, before anything begins."""
    if not request.signed:
        return request
    people = (request.requester, *find_executor().values())
    try:
        signed = approval.check(request.signed, approval.find_approvers(), people, key)
    except errors.RecordError as error:
        raise ParameterError(f"nobody's approval can be checked: {error}") from error
    return replace(request, approvals=(*request.approvals, *signed))


def _previous_run(archive: Path, endpoint: str) -> str:
    """The run before this one on the endpoint; none where the archive cannot say, which must stop nobody."""
    try:
        rows, _ = find(archive, Query(endpoint=endpoint, limit=1))
    except (errors.OpsError, OSError, sqlite3.Error):
        return ""
    return rows[0].run if rows else ""


def _first_record(parameters: RunbookParameters, folder: Path, notebook: Path, request: Request) -> Record:
    """What is known before the first cell."""
    commit, dirty = find_commit(notebook)
    return replace(
        new_record(parameters, folder),
        notebook_sha256=hashlib.sha256(notebook.read_bytes()).hexdigest(),
        commit=commit,
        dirty=dirty,
        rollback={"previous_run": _previous_run(archive_of(folder), parameters.endpoint)},
        ticket=request.ticket,
        requester=request.requester,
        emergency=request.emergency,
        approvals=request.approvals,
    )


def _last_record(folder: Path, watch: Watch, error: BaseException | None) -> Record:
    """Decide how it ended, take back what a dead kernel could not, and complete the record."""
    outcome, reason = _how_it_ended(folder, watch, error)
    if outcome in {Outcome.ABORTED, Outcome.FAILED}:
        reason = f"{reason}. {_recover(folder)}".removesuffix(". ")
    record = read_record(folder)
    if (record.outcome, record.reason) != (outcome, reason) or record.finished_at is None:
        record = record.ended(outcome, reason)
    broken = outcome in {Outcome.ABORTED, Outcome.FAILED, Outcome.REFUSED}
    return replace(record, kernel=watch.kernel, failing_cell=failing_cell(folder / NOTEBOOK) if broken else "")


def _seal(folder: Path, record: Record, key: SigningKey) -> Sealed:
    """End the run; where that cannot be written, say at least how it ended."""
    try:
        return end_run(folder, record, key)
    except errors.RecordError as error:
        release(folder)
        raise errors.RecordError(
            f"{error}. Nobody sealed the run, which ended as {record.outcome}: {record.reason}. Mend that, then: "
            f"opslib seal {record.run_id}"
        ) from error


def _hang_s(parameters: RunbookParameters) -> float | None:
    """How long a kernel may give no sign: as long as the lease of the runbook that holds one [seconds]."""
    return max(MIN_HANG_TIMEOUT_S, parameters.lease_s) if isinstance(parameters, CanaryParameters) else None


def _wanted(parameters: RunbookParameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters as they were understood."""
    understood = parameters.model_dump()
    return {name: understood[name] for name in given}


def _recover(folder: Path) -> str:
    """Take back what a dead kernel could not; say so, or say loudly that somebody must."""
    try:
        return undo_interrupted_run(folder)
    except errors.OpsError as error:
        return f"IT COULD NOT BE UNDONE, look at the endpoint now: {error}"


def _how_it_ended(folder: Path, watch: Watch, error: BaseException | None) -> tuple[Outcome, str]:
    """Fold what is known of the end: the worst news wins."""
    record = read_record(folder)
    if watch.stop_reason:
        return Outcome.ABORTED, watch.stop_reason
    if error is not None:
        name = str(getattr(error, "ename", type(error).__name__))
        if name == "OutcomeError" and record.outcome is not None and not record.outcome.good:
            return record.outcome, record.reason
        outcome = _outcome_of(name)
        if outcome is Outcome.REFUSED and _began(folder):
            outcome = Outcome.FAILED  # something was changed already
        return outcome, f"{name}: {getattr(error, 'evalue', error)}"
    unrun = _cells_not_run(folder / NOTEBOOK)
    if unrun:
        why = f" ({record.reason})" if record.reason else ""
        return Outcome.FAILED, f"the notebook stopped early: {unrun} of its cells did not run{why}"
    if record.outcome is None or record.finished_at is None:
        return Outcome.FAILED, "the notebook ended without recording an outcome"
    return record.outcome, record.reason


def _began(folder: Path) -> bool:
    """Whether the run had begun to change anything."""
    path = folder / JOURNAL
    return path.exists() and any(event["event"] == JournalEvent.APPLYING for event in read_journal(path))


def _outcome_of(name: str) -> Outcome:
    """Say how a run ended whose notebook raised an error of that name."""
    if name in {"DeadKernelError", "KeyboardInterrupt"}:
        return Outcome.ABORTED
    kind = getattr(errors, name, None)
    refused = isinstance(kind, type) and issubclass(kind, errors.OpsError) and kind.refused
    return Outcome.REFUSED if refused else Outcome.FAILED


def _cells_not_run(notebook: Path) -> int:
    """Count code cells without an execution count, or with one but an error among the outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    return sum(
        cell.get("execution_count") is None or any(o["output_type"] == "error" for o in cell["outputs"])
        for cell in code
    )
