"""What is checked before a deployment is deleted: traffic, retention, who refers to it, and its definition."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

from opslib.access.actions import READ_ACTIVITY, READ_RULES, count_requests, find_registered
from opslib.azure.activity_log import KEPT, read_changes
from opslib.azure.registered_assets import read_asset
from opslib.azure.request_counts import read_requests
from opslib.azure.rules import read_rules
from opslib.errors import AzureError, PlanError
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
)
from opslib.model.surroundings import Asset, Unread
from opslib.parameters.retire import RetireParameters
from opslib.policy.standards import Retention
from opslib.runbooks.access import check_access, check_scope
from opslib.runbooks.conditions import check_conditions
from opslib.runbooks.last_known_good import last_known_good
from opslib.runbooks.retention import find_foreign_changes, find_rest
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight, retire_preflight
from opslib.scaffold.deployment_file import deployment_file
from opslib.scaffold.yaml_file import YamlFile

SHORTEST_WINDOW = timedelta(minutes=15)
"""Shortest time of which requests are counted, whatever the retention is."""

LONGEST_WINDOW = timedelta(days=92)
"""Longest time of which requests are counted: Azure Monitor keeps metrics for 93 days."""


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
