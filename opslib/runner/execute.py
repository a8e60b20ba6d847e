"""Execute a runbook, and record how it ended.

papermill alone reports success where the kernel was killed or interrupted, or a cell called `sys.exit(0)`. Here a
run succeeds only if every cell ran, none raised, and the run's own record has a successful outcome.
"""

import hashlib
import sqlite3
from collections.abc import Callable, Mapping
from contextlib import nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

from opslib import errors
from opslib.azure.connect import connect
from opslib.errors import ParameterError
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import Sealed, begin_run, end_run
from opslib.evidence.run.files import APPROVALS, NOTEBOOK
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.notebook import failing_cell
from opslib.evidence.run.provenance import find_commit, find_executor
from opslib.evidence.run.record import ChangeRequest, Record, read_record, write_atomically
from opslib.evidence.run.run_lock import archive_of, free_reserve, release
from opslib.evidence.signing.approval import ApprovalCheck
from opslib.evidence.signing.approvers import find_approvers
from opslib.evidence.signing.keys import SigningKey, find_signing_key
from opslib.evidence.signing.revocation import open_revocations
from opslib.model import Outcome
from opslib.parameters import RUNBOOKS, CanaryParameters, RollbackParameters
from opslib.policy.values import fill_from_policy
from opslib.redaction.kernel_pipes import secrets_pipe
from opslib.runbook_names import require_runbook
from opslib.runbook_parameters import RunbookParameters
from opslib.runbooks.first_move import move_first
from opslib.runbooks.notifier import notify_end, notify_recovery
from opslib.runbooks.run import new_record
from opslib.runbooks.undo.reap import reap
from opslib.runner.ending import describe_own_undo, find_outcome, undo_if_interrupted
from opslib.runner.fork_server import fork_server
from opslib.runner.guardian import end_kernel, guarded
from opslib.runner.notebooks import find_notebook
from opslib.runner.papermill_engine import Event, Watch, execute_watched

_WITH_PLOT = ("canary", "scale")

MIN_HANG_TIMEOUT_S = 60.0
"""Shortest inactivity that counts as a hang: imports and plots are slow on a busy machine [seconds]."""


def execute(
    runbook: str,
    given: Mapping[str, Any],
    archive: Path,
    timeout_s: float | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    request: ChangeRequest | None = None,
) -> tuple[Path, Record]:
    """Execute a runbook and leave one folder of evidence.

    Parameters
    ----------
    runbook
        Name of the notebook.
    given
        Parameters by name; text is read as YAML where the parameter is not text.
    archive
        Folder of all runs.
    timeout_s
        Longest duration of the run; then the kernel is interrupted, undoes its work, and the run is aborted
        [seconds]. None: no limit.
    on_event
        Called with each event of the run's journal as it is written.
    request
        The organisation's request for the change: ticket, requester, approvals.

    Returns
    -------
    folder, record
        The folder of evidence, and the record with the outcome.

    Raises
    ------
    ParameterError
        If there is no such runbook or a parameter is invalid; nothing was started.
    RecordError
        If the evidence cannot be written; the change was undone nevertheless.
    """
    require_runbook(runbook)
    values = fill_from_policy(RUNBOOKS[runbook].check(given))
    parameters = values.parameters
    notebook = find_notebook(runbook)
    key = _signing_key()
    fork_server().prepare(_imports(parameters))  # while this process prepares the run
    request = check_approvals(request or ChangeRequest(), key)
    if not isinstance(parameters, RollbackParameters):
        _reap_first(parameters, archive, on_event)
    folder = new_folder(archive, runbook, parameters.endpoint or "all")
    moves_traffic = runbook == "canary" and not parameters.dry_run
    hang_s = _hang_s(parameters)
    with guarded(folder, hang_s) if moves_traffic and hang_s else nullcontext(), secrets_pipe() as secrets:
        record = begin_run(folder, _first_record(parameters, folder, notebook, request))
        if isinstance(parameters, RollbackParameters):
            moved = move_first(folder, parameters, values.policy, record)
            if not moved:
                _reap_first(parameters, archive, on_event)
        if request.signed:
            write_atomically(folder / APPROVALS, "".join(request.signed), redacted=False)
        watch = Watch(folder, archive, timeout_s, hang_s, on_event, secrets)
        error = execute_watched(notebook, _given_values(parameters, given), watch)
        end_kernel(folder)  # child processes of the kernel would continue to write
        free_reserve(folder)
        record = _last_record(folder, watch, error)
        notify_end(folder, record)
        sealed = _seal(folder, record, key)
    if sealed.notice:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": sealed.notice})
    return folder, sealed.record


def _imports(parameters: RunbookParameters) -> list[str]:
    """Return the modules that the notebook's cells will import."""
    runbook = parameters.runbook
    modules = [f"opslib.runbooks.{'canary.canary' if runbook == 'canary' else runbook}"]
    modules += [f"opslib.show.{'canary_views' if runbook == 'canary' else 'ended_views'}"]
    if runbook in _WITH_PLOT and not parameters.dry_run:
        modules += ["scipy.special", "matplotlib_inline.backend_inline", "opslib.show.plot"]
    if runbook == "deploy" and not parameters.dry_run:
        modules.append("azure.ai.ml")
    return modules


def _reap_first(parameters: RunbookParameters, archive: Path, on_event: Callable[[Event], None]) -> None:
    """Release an expired lease on the endpoint, and return the traffic that it held, before the run starts."""
    if parameters.dry_run or not parameters.changes:
        return

    def say(text: str) -> None:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": text})

    try:
        notify = partial(notify_recovery, policies=[parameters.policy])
        for reaped in reap(connect(parameters.target), archive, say, parameters.endpoint, before_seal=notify):
            say(f"released an expired lease first: {reaped.reason}" if reaped.outcome else reaped.reason)
    except errors.OpsError:
        return  # the run itself will report it


def _signing_key() -> SigningKey:
    """Find the key before anything is changed: a run that cannot be sealed is refused."""
    try:
        return find_signing_key()
    except errors.RecordError as error:
        raise ParameterError(f"the run was not started, because it could not be sealed: {error}") from error


def check_approvals(request: ChangeRequest, key: SigningKey) -> ChangeRequest:
    """Check the signed approvals; raise before anything is changed if one that was named is not valid."""
    if not request.signed and not request.offered:
        return request
    people = (request.requester, *find_executor().values())
    try:
        approvers = find_approvers()
        revocations = open_revocations(request.revocations, approvers) if approvers else ()
        check = ApprovalCheck(approvers, people, key.id, revocations)
        signed = check.require(request.signed)
        offered, rejected = check.select(one for one in request.offered if one not in request.signed)
    except errors.RecordError as error:
        raise ParameterError(f"the approvals cannot be checked: {error}") from error
    return replace(
        request,
        approvals=(*request.approvals, *signed, *offered.values()),
        signed=(*request.signed, *offered),
        rejected=rejected,
    )


def _previous_run(archive: Path, endpoint: str) -> str:
    """Return the endpoint's previous run; empty if the archive cannot be read, which must not prevent a run."""
    try:
        rows, _ = find_runs(archive, RunQuery(endpoint=endpoint, limit=1))
    except (errors.OpsError, OSError, sqlite3.Error):
        return ""
    return rows[0].run if rows else ""


def _first_record(parameters: RunbookParameters, folder: Path, notebook: Path, request: ChangeRequest) -> Record:
    """Return the record with what is known before the first cell."""
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
        rejected_approvals=request.rejected,
        wave=request.wave,
        wave_member=request.wave_member,
    )


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


def _hang_s(parameters: RunbookParameters) -> float | None:
    """Return how long the kernel may be inactive: as long as the lease, for a runbook with one [seconds]."""
    return max(MIN_HANG_TIMEOUT_S, parameters.lease_s) if isinstance(parameters, CanaryParameters) else None


def _given_values(parameters: RunbookParameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters as validated values."""
    values = parameters.model_dump()
    return {name: values[name] for name in given}
