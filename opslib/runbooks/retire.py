"""The retire runbook: deletes a deployment that has served its retention, and keeps what creates it again."""

from dataclasses import dataclass, replace

from opslib.azure.endpoint_changes import settle
from opslib.azure.endpoints import read_endpoint
from opslib.azure.rules import read_rules
from opslib.displayed import Displayed
from opslib.errors import ApplyError, AzureError, Drift, PlanError
from opslib.evidence.run.files import DEFINITION
from opslib.evidence.run.journal import JournalEvent
from opslib.model import (
    Deployment,
    Endpoint,
    Level,
    Outcome,
    Plan,
    Step,
)
from opslib.parameters.retire import RetireParameters
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.costs import retire_cost
from opslib.runbooks.lease.tags import read_lease
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import retire_preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.step_text import describe_step


@dataclass(frozen=True)
class Retired(Displayed):
    """How a retirement ended.

    Attributes
    ----------
    deployment
        The deployment.
    restore
        Command that creates it again from the definition in the run's folder; empty where nothing was deleted.
    saved_per_month, currency
        What its instances cost at list prices for 730 hours; None where they have no price.
    deleted, left
        What was deleted, and what could not be.
    """

    outcome: Outcome
    reason: str
    deployment: str
    restore: str = ""
    saved_per_month: float | None = None
    currency: str = ""
    deleted: tuple[str, ...] = ()
    left: tuple[str, ...] = ()


def plan_retire(run: Run[RetireParameters], before: Endpoint) -> Plan:
    """Plan the deletion; its undo is the definition in the run's folder."""
    found = before.find(run.parameters.deployment)
    if found is None:
        raise PlanError(
            f"deployment {run.parameters.deployment!r} does not exist; {before.name} has: "
            f"{before.deployment_names()}"
        )
    plan = planning.plan_retirement(before, found, read_rules(run.workspace, found), DEFINITION)
    return run.log(JournalEvent.PLAN, replace(plan, cost=retire_cost(run, before, found.name)))


def retire(run: Run[RetireParameters], plan: Plan) -> Retired:
    """Read the endpoint once more, and delete the deployment and the rules that it alone has.

    Raises
    ------
    Drift
        If the deployment took traffic, was changed, or the endpoint was leased since it was read.
    """
    p, found = run.parameters, plan.before.find(run.parameters.deployment)
    assert found is not None
    assert plan.cost is not None
    cost = plan.cost.before.find(found.name)
    saved = round(float(cost.per_month), 2) if cost and cost.per_month is not None else None
    ended = Retired(
        Outcome.PLANNED,
        "dry run: nothing was deleted",
        found.name,
        saved_per_month=saved,
        currency=plan.cost.prices.currency,
    )
    if p.dry_run:
        return ended
    require_approved(run, plan)
    first, *rest = plan.steps
    settle(run.workspace, plan.endpoint, p.operation_timeout_s, run.progress)
    require_unchanged(found, read_endpoint(run.workspace, plan.endpoint))
    _apply(run, first)
    deleted, left = [describe_step(first)], []
    for step in rest:
        try:
            _apply(run, step)
        except (AzureError, ApplyError) as error:
            left.append(f"{describe_step(step)}: {error}")
        else:
            deleted.append(describe_step(step))
    restore = f"opslib run deploy -p endpoint={plan.endpoint} -p definition={run.folder / DEFINITION}"
    ended = replace(ended, restore=restore, deleted=tuple(deleted), left=tuple(left))
    return run.log(JournalEvent.RETIRED, conclude_retire(ended))


def _apply(run: Run[RetireParameters], step: Step) -> None:
    run.journal.write(JournalEvent.APPLYING, step)
    run.log(JournalEvent.APPLIED, apply(step, run.workspace, run.parameters.operation_timeout_s, run.progress))
    run.progress(f"done: {describe_step(step)}")


def require_unchanged(found: Deployment, now: Endpoint) -> None:
    """Require that the deployment is still as the plan read it, and without traffic.

    Raises
    ------
    Drift
        If it is not: nothing was deleted.
    """
    there, lease = now.find(found.name), read_lease(now.tags)
    traffic = retire_preflight.check_no_traffic(now, found.name)
    if there is None:
        problem = f"another change deleted {found.name} meanwhile"
    elif traffic.level is not Level.OK:
        problem = traffic.evidence
    elif (there.version_sha256, there.instance_count) != (found.version_sha256, found.instance_count):
        problem = f"{found.name} was changed after this run read it"
    elif lease is not None:
        problem = f"{lease.change} holds {now.name}"
    else:
        return
    raise Drift(f"{problem}. Nothing was deleted. Find in the activity log who changed it; plan again")


def conclude_retire(ended: Retired) -> Retired:
    """Return the retirement with its outcome and sentence."""
    saves = "; what that saves is unknown"
    if ended.saved_per_month is not None:
        saves = f", which saves {ended.saved_per_month:,.2f} {ended.currency} per month of 730 h at list prices"
    reason = f"{ended.deployment} was deleted{saves}"
    if ended.left:
        return replace(ended, outcome=Outcome.HELD, reason=f"{reason}. Left: {'; '.join(ended.left)}")
    return replace(ended, outcome=Outcome.SUCCEEDED, reason=f"{reason}. To create it again: {ended.restore}")
