"""One run of a runbook, for its notebook: parameters, workspace and evidence."""

import os
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Generic, TypeVar

from opslib import errors
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import read_endpoint
from opslib.azure.rules import read_settings
from opslib.cost.estimate import cost_results
from opslib.displayed import Displayed
from opslib.errors import ApprovalNeeded, OpsError, OutcomeError
from opslib.evidence.archive.run_folders import find_archive, new_folder
from opslib.evidence.finish import begin_run
from opslib.evidence.run.files import AFTER, BEFORE, FOLDER_VARIABLE, PLAN, RECORD
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.record import Approval, Record, read_record, write_atomically, write_record
from opslib.evidence.run.run_lock import release
from opslib.evidence.run.scraps import glue_record
from opslib.evidence.signing.approval import keep_approvals
from opslib.model import CostChange, Endpoint, Finding, Outcome, Plan, PriceList
from opslib.policy.agreements import AgreementCount, describe_rule
from opslib.policy.values import Values, fill_from_policy
from opslib.runbook_parameters import RunbookParameters
from opslib.runbooks import plan_approvals
from opslib.runbooks.cells import CellDisplay, stop_watching, watch_errors
from opslib.runbooks.endpoint_state import describe_served, write_state
from opslib.runbooks.first_move import read_first_move, with_undo
from opslib.runbooks.new_record import new_record
from opslib.runbooks.notices import RunAbout
from opslib.runbooks.notifier import Notifier
from opslib.runbooks.plan_content import approved_content, digest_of
from opslib.runbooks.steps import policy_preflight

P = TypeVar("P", bound=RunbookParameters)
T = TypeVar("T")


class Run(Displayed, Generic[P]):
    """One execution of a runbook.

    Attributes
    ----------
    parameters
        The validated parameters, filled in from the policy.
    origins
        Where each parameter's value came from: "given", "policy" or "default".
    policy
        The endpoint's policy, None without one.
    workspace
        The workspace that is changed.
    folder
        Folder of the evidence.
    record
        The record so far.
    prices
        List prices, once they were read.
    first_move
        What the runner began before the notebook started; None where it left all to the notebook.
    """

    def __init__(self, values: Values[P], workspace: Workspace, folder: Path, record: Record) -> None:
        self.parameters = values.parameters
        self.origins = values.origins
        self.policy = values.policy
        self.workspace = workspace
        self.folder = folder
        self.record = record
        self.prices: PriceList | None = None
        self.journal = Journal(folder, self._follow)
        self._display = CellDisplay()
        receivers = values.policy.notifications if values.policy else ()
        self._notifier = Notifier(self.journal, receivers, RunAbout.of(record))
        self._planned_cost: CostChange | None = None
        self.first_move = read_first_move(folder)
        self._readings = 0
        self._shown = ""
        self._other_plans: tuple[Approval, ...] = ()

    @classmethod
    def open(cls, parameters: P) -> "Run[P]":
        """Connect, create the run's folder (or use the runner's), and begin its journal."""
        values = fill_from_policy(parameters)
        parameters = values.parameters
        workspace = connect(parameters.target)
        given = os.environ.get(FOLDER_VARIABLE)
        folder = (
            Path(given) if given else new_folder(find_archive(), parameters.runbook, parameters.endpoint or "all")
        )
        record = _first_record(parameters, folder)
        record = replace(record, parameters=parameters.model_dump(), origins=dict(values.origins))
        run = cls(values, workspace, folder, replace(record, scope=workspace.scope))
        write_record(folder, run.record)
        run.journal.write(JournalEvent.OPENED, run.record)
        watch_errors(run.record_error)
        return run

    def read_endpoint(self) -> Endpoint:
        """Read the endpoint; the first reading is kept as before.json, the latest as after.json."""
        endpoint = read_endpoint(self.workspace, self.parameters.endpoint)
        first = self._readings == 0
        self._readings += 1
        if first and self.first_move is not None:
            endpoint = self.first_move.state_before(endpoint)
        settings = read_settings(self.workspace, endpoint) if self.parameters.autoscale else None
        served_by = {d.name: describe_served(d) for d in endpoint.deployments}
        name = BEFORE if first else AFTER
        write_state(self.folder / name, endpoint, None if settings is None else [one.arm for one in settings])
        if first:
            self.record = replace(self.record, traffic_before=dict(endpoint.traffic), deployments_before=served_by)
        else:
            self.record = replace(self.record, traffic_after=dict(endpoint.traffic), deployments_after=served_by)
        write_record(self.folder, self.record)
        self.journal.write(JournalEvent.STATE, endpoint)
        return endpoint

    def check_policy(self) -> tuple[Finding, ...]:
        """Check owner, change window and approvals by the endpoint's policy; without one, nothing."""
        if self.policy is None:
            return ()
        now, runbook = datetime.now(UTC), self.parameters.runbook
        findings = [
            policy_preflight.check_owner_named(self.policy),
            policy_preflight.check_window(self.policy, runbook, now, emergency=self.record.emergency),
        ]
        if self.policy.retention is not None and runbook in {"canary", "rollback"}:
            findings.append(policy_preflight.check_retention(self.policy.retention))
        if self.policy.notifications:
            findings.append(policy_preflight.check_notifications(self.policy, os.environ))
        rule, count = self.policy.approvals_for(runbook), self.count_approvals()
        if rule is not None and count is not None:
            findings.append(policy_preflight.check_agreements(count, describe_rule(rule, self.policy.roles)))
        return tuple(findings)

    def count_approvals(self) -> AgreementCount | None:
        """Count the approvals that satisfy the policy, of this plan once it is made; None where none are needed."""
        return plan_approvals.count_approvals(self.policy, self.record, self._other_plans)

    def log(self, event: JournalEvent, value: T) -> T:
        """Write a value to the journal and return it; a plan is also written to plan.json."""
        self.journal.write(event, value)
        if isinstance(value, Plan):
            self._keep_plan(value)
        return value

    def _keep_plan(self, plan: Plan) -> None:
        """Write the plan to the file that people approve by its digest, and its undo to the record.

        Raises
        ------
        PlanError
            If an approval is not valid for this plan, and the policy does not count approvals.
        """
        self._planned_cost = plan.cost
        content = approved_content(plan, self.parameters, self.workspace.scope, self.policy)
        write_atomically(self.folder / PLAN, content)
        digest = digest_of(content)
        rollback = with_undo(self.record, plan, self.workspace.scope)
        self.record = replace(self.record, plan_sha256=digest, rollback=rollback)
        write_record(self.folder, self.record)
        others = plan_approvals.find_others(self.policy, self.record)
        if others:
            self._other_plans = others
            self.record = keep_approvals(self.folder, self.record, others)

    def progress(self, text: str) -> None:
        """Show and journal a message, unless it repeats the last one."""
        self.journal.touch()
        if text != self._shown:
            self._shown = text
            self.journal.write(JournalEvent.PROGRESS, text)

    def finish(self, outcome: Outcome, reason: str, results: Mapping[str, Any] | None = None) -> Record:
        """Read the endpoint that was changed, write the record, and glue its results for scrapbook."""
        ended = self.read_endpoint() if self.parameters.changes else None
        costs = cost_results(self._planned_cost, ended) if self._planned_cost and ended else {}
        self.record = replace(self.record, results={**(results or {}), **costs}).ended(outcome, reason)
        write_record(self.folder, self.record)
        self.journal.write(
            JournalEvent.FINISHED, {"outcome": outcome, "reason": reason, "results": self.record.results}
        )
        self._notifier.settle()
        glue_record(self.record)
        if FOLDER_VARIABLE not in os.environ:
            stop_watching()  # what a person runs next in this kernel is no part of a recorded run
            release(self.folder)
        return self.record

    def record_error(self, error: BaseException) -> None:
        """Record that a cell raised; a later `finish`, after a repair by hand, replaces this."""
        if isinstance(error, OutcomeError):
            return
        outcome = outcome_of(error)
        self.journal.write(
            JournalEvent.RAISED, {"error": type(error).__name__, "message": str(error), "outcome": outcome}
        )
        if self.record.outcome is not None and isinstance(error, NameError):
            return  # a name that the cell which raised before did not make: that one is the cause
        reason = reason_of(type(error).__name__, str(error))
        if isinstance(error, KeyboardInterrupt):
            reason = f"{reason}: the kernel was interrupted"
        self.record = self.record.ended(outcome, reason)
        write_record(self.folder, self.record)
        if FOLDER_VARIABLE not in os.environ:  # the runner knows better how the run ended
            self._notifier.end(self.record)
        self._notifier.settle()

    def _follow(self, event: Mapping[str, Any]) -> None:
        """Show one more event of the journal, and send its notice."""
        self._display.follow(event)
        self._notifier.follow(event)


def conclude(record: Record) -> None:
    """End the notebook, without output if the run was a success.

    Raises
    ------
    OutcomeError
        If it was not, so that papermill alone fails too.
    """
    if record.outcome is None or not record.outcome.good:
        what = f"{record.runbook} of {record.endpoint}" if record.endpoint else record.runbook
        raise OutcomeError(f"{what} ended as {record.outcome}: {record.reason}")


def outcome_of(error: BaseException) -> Outcome:
    """Return how a run ended that raised this error."""
    return outcome_of_kind(type(error))


def outcome_of_kind(kind: type[BaseException]) -> Outcome:
    """Return how a run ended that raised an error of this class."""
    if issubclass(kind, KeyboardInterrupt):
        return Outcome.ABORTED
    if issubclass(kind, ApprovalNeeded):
        return Outcome.WAITING
    return Outcome.REFUSED if issubclass(kind, OpsError) and kind.refused else Outcome.FAILED


def reason_of(name: str, message: str) -> str:
    """Return why a run ended that raised an error: of one of ours the message alone, which is complete.

    >>> reason_of("NotFound", "endpoint 'fraud' does not exist")
    "endpoint 'fraud' does not exist"
    >>> reason_of("ZeroDivisionError", "division by zero")
    'ZeroDivisionError: division by zero'
    """
    kind = getattr(errors, name, None)
    own = isinstance(kind, type) and issubclass(kind, OpsError)
    return message if own and message else f"{name}: {message}".removesuffix(": ")


def _first_record(parameters: RunbookParameters, folder: Path) -> Record:
    """Read the runner's record if there is one; else, as in a notebook run by hand, begin the run here."""
    if (folder / RECORD).exists():
        return read_record(folder)
    return begin_run(folder, new_record(parameters, folder))
