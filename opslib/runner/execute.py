"""Execute a runbook, and record how it ended.

papermill alone reports success where the kernel was killed or interrupted, or a cell called `sys.exit(0)`. Here a
run succeeds only if every cell ran, none raised, and the run's own record has a successful outcome.
"""

import hashlib
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path
from typing import Any

from opslib import errors
from opslib.errors import ParameterError
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run
from opslib.evidence.run.files import APPROVALS
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.provenance import find_executor, find_prepared_at
from opslib.evidence.run.record import ChangeRequest, Record, write_atomically
from opslib.evidence.signing.keys import SigningKey, find_signing_key
from opslib.parameters import RUNBOOKS
from opslib.parameters.rollback import RollbackParameters
from opslib.policy.values import Values, fill_from_policy
from opslib.redaction.kernel_pipes import secrets_pipe
from opslib.runbook_names import require_runbook
from opslib.runbook_parameters import RunbookParameters
from opslib.runbooks.first_move import move_first
from opslib.runbooks.new_record import new_record
from opslib.runbooks.progress import while_shown
from opslib.runner.fork_server import fork_server
from opslib.runner.notebooks import find_notebook
from opslib.runner.watch import Event, Watch, execute_watched
from opslib.show.registered import MODULES as VIEWS

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
    notebook, on_event = find_notebook(runbook), while_shown(on_event)
    key = _signing_key()
    fork_server().prepare(_imports(parameters))  # while this process prepares the run
    request = check_approvals(request or ChangeRequest(), key)
    if not isinstance(parameters, RollbackParameters):
        import_the_rest().reap_first(parameters, archive, on_event)
    folder = new_folder(archive, runbook, parameters.endpoint or "all")
    hang_s = _hang_s(parameters)
    with _guard(folder, parameters, hang_s) as end_watch, secrets_pipe() as secrets:
        watch = Watch(folder, archive, timeout_s, hang_s, on_event, secrets)
        with watch.handle_signals():
            _begin(watch, notebook, values, request)
            error = execute_watched(notebook, _given_values(parameters, given), watch)
            end_watch()
            sealed = import_the_rest().conclude_run(folder, watch, error, key)
    if sealed.notice:
        on_event({"event": JournalEvent.PROGRESS, "at": datetime.now(UTC).isoformat(), "data": sealed.notice})
    return folder, sealed.record


def _begin(watch: Watch, notebook: Path, values: Values[Any], request: ChangeRequest) -> None:
    """Enter a run in the ledger and write its first record; a rollback moves its traffic at once."""
    parameters, folder = values.parameters, watch.folder
    record = begin_run(folder, _first_record(parameters, folder, notebook, request))
    rolls_back = isinstance(parameters, RollbackParameters)
    moved = rolls_back and move_first(folder, parameters, values.policy, record)
    rest = import_the_rest()
    if rolls_back and not moved:
        rest.reap_first(parameters, watch.archive, watch.on_event)
    rest.add_provenance(folder, notebook)
    if request.signed:
        write_atomically(folder / APPROVALS, "".join(request.signed), redacted=False)


def import_the_rest() -> Any:
    """Import what a run needs besides executing its notebook; a rollback moves the traffic before."""
    return import_module("opslib.runner.concluding")


def _guard(
    folder: Path, parameters: RunbookParameters, hang_s: float | None
) -> AbstractContextManager[Callable[[], None]]:
    """Return the guard of a run that moves traffic by stages."""
    if hang_s is None or parameters.dry_run:
        return nullcontext(lambda: None)
    from opslib.runner.guardian import guarded  # noqa: PLC0415 - a canary's alone, with the undo

    return guarded(folder, hang_s)


def _imports(parameters: RunbookParameters) -> list[str]:
    """Return the modules that the notebook's cells will import."""
    runbook = parameters.runbook
    module = "opslib.runbooks." + ("canary.rollout" if runbook == "canary" else runbook)
    modules = [module.replace("rollout", "canary"), *([VIEWS[module]] if module in VIEWS else [])]
    if runbook in _WITH_PLOT and not parameters.dry_run:
        modules += ["scipy.special", "matplotlib_inline.backend_inline", "opslib.show.plot"]
    if runbook == "deploy" and not parameters.dry_run:
        modules.append("azure.ai.ml")
    return modules


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
    from opslib.evidence.signing.approval import ApprovalCheck  # noqa: PLC0415 - few runs have approvals
    from opslib.evidence.signing.approvers import find_approvers  # noqa: PLC0415
    from opslib.evidence.signing.revocation import open_revocations  # noqa: PLC0415

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


def _first_record(parameters: RunbookParameters, folder: Path, notebook: Path, request: ChangeRequest) -> Record:
    """Return the record with what is known at once."""
    return replace(
        new_record(parameters, folder),
        notebook_sha256=hashlib.sha256(notebook.read_bytes()).hexdigest(),
        ticket=request.ticket,
        requester=request.requester,
        emergency=request.emergency,
        approvals=request.approvals,
        rejected_approvals=request.rejected,
        wave=request.wave,
        wave_member=request.wave_member,
        prepared_at=find_prepared_at(),
    )


def _hang_s(parameters: RunbookParameters) -> float | None:
    """Return how long the kernel may be inactive: as long as the lease, for a runbook with one [seconds]."""
    lease_s: float | None = getattr(parameters, "lease_s", None)
    return None if lease_s is None else max(MIN_HANG_TIMEOUT_S, lease_s)


def _given_values(parameters: RunbookParameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return the given parameters as validated values."""
    values = parameters.model_dump()
    return {name: values[name] for name in given}
