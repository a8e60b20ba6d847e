"""The retire runbook: deletes a deployment that has served its retention, and keeps what creates it again."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

from opslib.access.actions import READ_ACTIVITY, READ_RULES, count_requests, find_registered
from opslib.azure.activity_log import KEPT, read_changes
from opslib.azure.endpoint_changes import settle
from opslib.azure.endpoints import read_endpoint
from opslib.azure.registered_assets import read_asset
from opslib.azure.request_counts import read_requests
from opslib.azure.rules import read_rules
from opslib.displayed import Displayed
from opslib.errors import ApplyError, AzureError, Drift, PlanError
from opslib.evidence.archive.run_folders import find_archive, read_archive
from opslib.evidence.run.files import DEFINITION
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record, write_atomically
from opslib.model import (
    Deployment,
    DeploymentRule,
    Endpoint,
    Finding,
    Findings,
    Level,
    Outcome,
    Plan,
    Step,
)
from opslib.model.surroundings import Asset, Unread
from opslib.parameters.retire import RetireParameters
from opslib.policy.standards import Retention
from opslib.runbooks.access import check_access, check_scope
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.conditions import check_conditions
from opslib.runbooks.costs import retire_cost
from opslib.runbooks.last_known_good import last_known_good
from opslib.runbooks.lease.tags import read_lease
from opslib.runbooks.retention import find_foreign_changes, find_rest
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight, retire_preflight
from opslib.runbooks.steps.apply import apply
from opslib.scaffold.deployment_file import deployment_file
from opslib.scaffold.yaml_file import YamlFile

SHORTEST_WINDOW = timedelta(minutes=15)
"""Shortest time of which requests are counted, whatever the retention is."""

LONGEST_WINDOW = timedelta(days=92)
"""Longest time of which requests are counted: Azure Monitor keeps metrics for 93 days."""


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


def check_retire(run: Run[RetireParameters], before: Endpoint) -> Findings:
    """Check whether the deployment may be deleted."""
    name, found = run.parameters.deployment, before.find(run.parameters.deployment)
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        *check_conditions(run, before),
        retire_preflight.check_exists(before, name),
        retire_preflight.check_no_traffic(before, name),
        preflight.check_others(before, [name]),
    ]
    if found is not None:
        findings += _check_deployment(run, before, found)
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def _check_deployment(run: Run[RetireParameters], before: Endpoint, found: Deployment) -> list[Finding]:
    rule, now = run.policy.retention if run.policy else None, datetime.now(UTC)
    retention = rule or Retention()
    history = _history(run, before)
    rest = find_rest(found, history)
    rules, problem = _read_rules(run, found)
    uses = (
        READ_RULES,
        *count_requests("metrics", "metrics"),
        *(
            replace(one, optional=True)
            for one in (READ_ACTIVITY, *find_registered("models", "environments", "codes"))
        ),
    )
    fix = "Find out why they cannot be read, and run again."
    return [
        check_access(run, before, lambda: planning.plan_retirement(before, found, rules, DEFINITION), uses),
        _check_source(run, rule),
        _check_target(before, found, history),
        _check_requests(run, before, found, now, retention),
        retire_preflight.check_rest(found.name, rest.since, rest.by, now, retention),
        retire_preflight.check_releases(found.name, rest.releases, retention),
        _check_foreign(run, before, history, rest.since or now - KEPT),
        _check_again(run, before, found),
        Finding.blocker("autoscale and alerts", f"unknown: {problem}", fix)
        if problem
        else retire_preflight.check_rules(found.name, rules),
    ]


def _read_rules(run: Run[RetireParameters], found: Deployment) -> tuple[tuple[DeploymentRule, ...], str]:
    """Read what scales and watches the deployment; else none, and the reason."""
    try:
        return read_rules(run.workspace, found), ""
    except AzureError as error:
        return (), str(error)


def _history(run: Run[RetireParameters], before: Endpoint) -> list[Record]:
    """Read the records of the endpoint's other runs, newest first."""
    return [record for folder, record in read_archive(find_archive(), before.name) if folder != run.folder]


def _check_source(run: Run[RetireParameters], rule: Retention | None) -> Finding:
    """State whose retention counts."""
    retention = rule or Retention()
    kept = f"{retention.release_cycles} later releases and {retention.days:g} days"
    if rule is None:
        fix = "Add `retention` to the endpoint's policy."
        return Finding("retention", Level.WARNING, f"no policy sets it: {kept}, the default", fix)
    return Finding.ok("retention", f"{kept}, by {run.parameters.policy}")


def _check_target(before: Endpoint, found: Deployment, history: Sequence[Record]) -> Finding:
    try:
        target, unknown = last_known_good(before, history), ""
    except PlanError as error:
        target, unknown = "", str(error)
    return retire_preflight.check_not_target(found.name, target, unknown)


def _check_requests(
    run: Run[RetireParameters], before: Endpoint, found: Deployment, now: datetime, rule: Retention
) -> Finding:
    window = min(max(timedelta(days=rule.days), SHORTEST_WINDOW), LONGEST_WINDOW)
    read = read_requests(run.workspace.arm, before, now - window, now)
    if isinstance(read, dict):
        return retire_preflight.check_requests(found.name, read.get(found.name.lower(), 0), window, "")
    return retire_preflight.check_requests(found.name, None, window, read.reason)


def _check_foreign(
    run: Run[RetireParameters], before: Endpoint, history: Sequence[Record], since: datetime
) -> Finding:
    events, unread = read_changes(run.workspace.arm, [run.workspace.scope.subscription_id], since)
    foreign = find_foreign_changes(before, events, history, since)
    return retire_preflight.check_foreign(foreign, unread[0].reason if unread else "")


def _check_again(run: Run[RetireParameters], before: Endpoint, found: Deployment) -> Finding:
    """Check that what the definition refers to is registered, and write the definition to the run's folder."""
    properties = found.arm["properties"]
    if str(properties.get("endpointComputeType") or "Managed") != "Managed":
        return Finding.blocker(
            "undo", f"{found.name} is not a managed deployment: its definition cannot be kept", "Delete it by hand."
        )
    code = (properties.get("codeConfiguration") or {}).get("codeId")
    ids = [str(one) for one in (properties.get("model"), properties.get("environmentId"), code) if one]
    read = {one: read_asset(run.workspace, one) for one in ids if one.startswith("/")}
    definition = _keep_definition(run, before, found)
    return retire_preflight.check_again(
        found.name,
        [one for one, asset in read.items() if isinstance(asset, Asset) and not asset.found],
        [f"{one}: {asset.reason}" for one, asset in read.items() if isinstance(asset, Unread)],
        definition.placeholders,
    )


def _keep_definition(run: Run[RetireParameters], before: Endpoint, found: Deployment) -> YamlFile:
    file = deployment_file(found, before.name, run.workspace.scope.workspace_id, 0)
    write_atomically(run.folder / DEFINITION, file.text)
    return file


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
    deleted, left = [planning.describe_step(first)], []
    for step in rest:
        try:
            _apply(run, step)
        except (AzureError, ApplyError) as error:
            left.append(f"{planning.describe_step(step)}: {error}")
        else:
            deleted.append(planning.describe_step(step))
    restore = f"opslib run deploy -p endpoint={plan.endpoint} -p definition={run.folder / DEFINITION}"
    ended = replace(ended, restore=restore, deleted=tuple(deleted), left=tuple(left))
    return run.log(JournalEvent.RETIRED, conclude_retire(ended))


def _apply(run: Run[RetireParameters], step: Step) -> None:
    run.journal.write(JournalEvent.APPLYING, step)
    run.log(JournalEvent.APPLIED, apply(step, run.workspace, run.parameters.operation_timeout_s, run.progress))
    run.progress(f"done: {planning.describe_step(step)}")


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
