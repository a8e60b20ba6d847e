"""The first move of a rollback: traffic is moved before the notebook starts, which then records and verifies it.

Where probes are given, they are sent at once too, so that the first verified answer does not wait for the notebook.

A kernel takes seconds to start and a whole preflight to read, in which users get the bad version's answers. The
first move needs the endpoint and its deployments only. It is made where these and the policy leave no question;
otherwise the notebook decides, with every finding. The plan and the request are those that the notebook would make.
"""

import json
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from typing import TYPE_CHECKING, Any

from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import make_endpoint, read_endpoint
from opslib.errors import OpsError
from opslib.evidence.run.files import BEFORE, JOURNAL
from opslib.evidence.run.journal import Journal, JournalEvent, as_json, read_journal
from opslib.evidence.run.record import Record, write_record
from opslib.model import Endpoint, Level, Plan, ProbeResult, Scope, SetTraffic, Traffic
from opslib.model.traffic import same_traffic
from opslib.parameters.rollback import RollbackParameters
from opslib.runbooks.endpoint_state import write_state
from opslib.runbooks.last_known_good import choose_target
from opslib.runbooks.steps import preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.plan import plan_return
from opslib.runbooks.steps.step_text import az_command

if TYPE_CHECKING:
    from opslib.policy.policy import Policy

VERIFY_S = 3.0
"""Longest verification before the notebook starts, which then verifies without this limit [seconds]."""


@dataclass(frozen=True)
class FirstMove:
    """What was done before the notebook started.

    Attributes
    ----------
    at
        When the traffic had moved [UTC, ISO 8601]; empty where the end of the request was not seen.
    after
        The traffic since [percent].
    endpoint
        The endpoint before it, as ARM's JSON, with secrets masked.
    probes
        The live requests that were sent then; none where the notebook verifies the arrival.
    """

    at: str
    after: Traffic
    endpoint: dict[str, Any]
    probes: tuple[ProbeResult, ...] = ()

    @property
    def moved(self) -> bool:
        """Whether the traffic had moved when the notebook started."""
        return bool(self.at)

    def state_before(self, now: Endpoint) -> Endpoint:
        """Return the endpoint as it was before the move, with the deployments as they are now.

        Where the end of the request was not seen, traffic that is as it was set is taken for the move's.
        """
        if not self.moved and not same_traffic(now.traffic, self.after):
            return now
        return make_endpoint(self.endpoint, [dict(one.arm) for one in now.deployments])


def read_first_move(folder: Path) -> FirstMove | None:
    """Return the first move of a run, by its journal; None where there was none."""
    path = folder / JOURNAL
    if not path.exists():
        return None
    events: dict[str, dict[str, Any]] = {}
    for line in read_journal(path):
        if line["event"] == JournalEvent.OPENED:
            break
        events[line["event"]] = line
    if JournalEvent.APPLYING not in events:
        return None
    arm = json.loads((folder / BEFORE).read_text(encoding="utf-8"))
    sent = events[JournalEvent.PROBES]["data"] if JournalEvent.PROBES in events else ()
    return FirstMove(
        events[JournalEvent.APPLIED]["at"] if JournalEvent.APPLIED in events else "",
        events[JournalEvent.APPLYING]["data"]["after"],
        arm["endpoint"],
        tuple(ProbeResult(**one | {"sent_at": datetime.fromisoformat(one["sent_at"])}) for one in sent),
    )


def move_first(folder: Path, p: RollbackParameters, policy: "Policy | None", record: Record) -> bool:
    """Move the traffic at once where nothing is against it; return whether it was moved.

    Parameters
    ----------
    folder
        The run's folder.
    p, policy
        The run's parameters, and the endpoint's policy.
    record
        Its record so far.
    """
    journal = Journal(folder)
    if p.dry_run or record.approvals or _conditions(policy):
        return False
    try:
        return _move(folder, p, record, journal)
    except OpsError as error:
        if journal.path.exists():  # else nothing was sent, and the notebook reports the same
            journal.try_write(JournalEvent.PROGRESS, f"the traffic was not moved at once: {error}")
        return False


def _conditions(policy: "Policy | None") -> bool:
    """Return whether the policy has a condition for rollbacks, which the notebook must check."""
    return policy is not None and bool(
        policy.approvals_for("rollback")
        or policy.windows_for("rollback")
        or policy.freezes_for("rollback")
        or (policy.validation and policy.validation.required)
    )


def _move(folder: Path, p: RollbackParameters, record: Record, journal: Journal) -> bool:
    workspace = connect(p.target)
    before = read_endpoint(workspace, p.endpoint)
    to = choose_target(p.to, before, folder)
    if _questions(before, to):
        return False
    plan = plan_return(before, to, p.verify_requests)
    step = plan.steps[0]
    assert isinstance(step, SetTraffic)
    write_state(folder / BEFORE, before)
    journal.write(JournalEvent.STATE, before)
    journal.write(JournalEvent.APPLYING, step)
    receipt = apply(step, workspace, p.operation_timeout_s, lambda _: journal.touch())
    journal.write(JournalEvent.APPLIED, receipt)
    _complete(folder, record, plan, workspace)
    if p.probes:
        _verify(workspace, plan, p, journal)
    return True


def _verify(workspace: Workspace, plan: Plan, p: RollbackParameters, journal: Journal) -> None:
    """Send the live requests that verify the arrival, until one does not; the notebook then sends its own."""
    from opslib.azure.scoring_client import scoring_client  # noqa: PLC0415 - the traffic moves before its import
    from opslib.definitions.probes import read_probes  # noqa: PLC0415

    limit_s, begun_s = min(VERIFY_S, p.verify_s), monotonic()
    step = plan.steps[0]
    assert isinstance(step, SetTraffic)
    (to,) = step.after
    sent: list[ProbeResult] = []
    try:
        probes = read_probes(p.probes)
        with scoring_client(workspace, plan.before, limit_s) as client:
            for result in client.send_all(probes, p.verify_requests):
                sent.append(result)
                if not result.answered_by(to) or monotonic() - begun_s >= limit_s:
                    break
        journal.write(JournalEvent.PROBES, sent)
    except OpsError as error:
        journal.try_write(JournalEvent.PROGRESS, f"the arrival was not verified at once: {error}")


def _questions(before: Endpoint, to: str) -> bool:
    """Return whether the endpoint's own state needs the whole preflight."""
    findings = (
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        preflight.check_ready(before, to, "rollback target"),
        preflight.check_returns(before, to),
        preflight.check_mirror(before, to),
    )
    return any(finding.level is not Level.OK for finding in findings)


def _complete(folder: Path, record: Record, plan: Plan, workspace: Workspace) -> None:
    """Write the traffic before and the undo to the record, in case that the notebook never does."""
    rollback = with_undo(record, plan, workspace.scope)
    write_record(folder, replace(record, traffic_before=dict(plan.before.traffic), rollback=rollback))


def with_undo(record: Record, plan: Plan, scope: Scope) -> dict[str, Any]:
    """Return a record's entry on its rollback, with the plan's undo and the commands that do it by hand."""
    commands = [az_command(step, scope) for step in plan.undo]
    return {**record.rollback, "undo": as_json(plan.undo), "commands": commands}
