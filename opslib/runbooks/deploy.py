"""The deploy runbook: a new deployment at zero traffic, tested by probes that are sent to it directly."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path

from opslib.access.actions import READ_CAPACITY, READ_LOGS, find_registered, find_uploads, upload
from opslib.azure.capacity import read_instance_types, read_quotas
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_logs
from opslib.azure.permissions import identity_storage
from opslib.azure.registered_assets import AssetVersion, find_asset, is_registered
from opslib.azure.scoring_client import failures, scoring_client
from opslib.definitions.beforehand import find_unknown
from opslib.definitions.deployment import DeploymentDefinition, read_deployment
from opslib.definitions.probes import read_probes
from opslib.definitions.rules import check_deployment
from opslib.definitions.source import read_replacements
from opslib.displayed import Displayed
from opslib.errors import ApplyError, AzureError, CreateRefused, DefinitionError, Drift, OpsError, ProbeFailed
from opslib.evidence.run.journal import JournalEvent
from opslib.model import (
    CreateDeployment,
    Endpoint,
    Finding,
    Findings,
    Level,
    Outcome,
    Plan,
    ProbeResult,
    SendProbes,
)
from opslib.parameters.deploy import DeployParameters
from opslib.policy.exceptions import Exceptions
from opslib.redaction.redact import register_secrets
from opslib.runbooks.access import check_access, check_scope
from opslib.runbooks.approval_gate import require_approved
from opslib.runbooks.conditions import check_conditions
from opslib.runbooks.costs import check_cost, deploy_cost
from opslib.runbooks.run import Run
from opslib.runbooks.steps import definition_preflight, policy_preflight, preflight
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps.apply import apply, require_absent
from opslib.runbooks.undo.undo_plan import undo_plan


@dataclass(frozen=True)
class Deployed(Displayed):
    """How a deployment ended."""

    outcome: Outcome
    reason: str
    deployment: str
    probes: tuple[ProbeResult, ...] = ()


def check_deploy(run: Run[DeployParameters], before: Endpoint) -> Findings:
    """Check everything about the deployment that can be known before anything is created."""
    p = run.parameters
    definition = _read(p)
    if p.probes:
        read_probes(p.probes)  # a damaged file is refused before anything is created
    permissions = _check_permissions(run, before, definition)
    findings = [
        check_scope(run, before),
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        *run.check_policy(),
        permissions,
        preflight.check_owner(before, definition.endpoint),
        *check_conditions(run, before),
        *_check_tags(run, definition),
        preflight.check_absent(before, definition.name),
        *definition_preflight.check_definition(str(definition.path), check_deployment(definition)),
        check_cost(run, deploy_cost(run, before, definition)),
        definition_preflight.check_beforehand(find_unknown(definition)),
    ]
    if permissions.level is Level.OK:
        findings += _check_capacity(run.workspace, before, definition)
    if permissions.level is not Level.BLOCKER:  # what follows is read with these permissions
        findings += [
            definition_preflight.check_asset(o.kind, o.reference, o.found, o.problem)
            for o in _find_assets(run.workspace, definition)
        ]
    exceptions = Exceptions(run.policy.exceptions if run.policy else (), datetime.now(UTC))
    return run.log(JournalEvent.PREFLIGHT, Findings(policy_preflight.accept_warnings(findings, exceptions)))


def _check_tags(run: Run[DeployParameters], definition: DeploymentDefinition) -> tuple[Finding, ...]:
    """Check the tags of the new deployment where the policy requires some."""
    required = run.policy.tags.deployment if run.policy else ()
    if not required:
        return ()
    tags = definition.source.get("tags")
    return (policy_preflight.check_tags(definition.name, required, tags if isinstance(tags, Mapping) else {}),)


def plan_deploy(run: Run[DeployParameters], before: Endpoint) -> Plan:
    """Plan the creation and the probes that test it; ``@latest`` is pinned to the version that it names now."""
    definition = _read(run.parameters)
    found = _find_assets(run.workspace, definition)
    pinned = {one.kind.removesuffix("s"): one.found for one in found if one.found}
    plan = _plan(run.parameters, before, definition, pinned)
    return run.log(JournalEvent.PLAN, replace(plan, cost=deploy_cost(run, before, definition)))


def _plan(
    p: DeployParameters, before: Endpoint, definition: DeploymentDefinition, pinned: Mapping[str, str]
) -> Plan:
    create = CreateDeployment(
        endpoint=definition.endpoint,
        deployment=definition.name,
        definition=str(definition.path),
        instance_type=definition.instance_type,
        instance_count=definition.instance_count,
        model=pinned.get("model", definition.model),
        replacements=read_replacements(p.set) | dict(pinned),
    )
    return planning.plan_create(before, create, p.probe_requests if p.probes else 0)


def _check_permissions(run: Run[DeployParameters], before: Endpoint, definition: DeploymentDefinition) -> Finding:
    """Check what the deployment, its undo, its files and its tests need."""
    uploads = find_uploads(definition)
    references = {"models": definition.model, "environments": definition.environment}
    registered = [kind for kind, reference in references.items() if is_registered(reference)]
    storage = _storage(run.workspace) if uploads else ""
    uses = (
        *upload(uploads, by_identity=bool(storage)),
        *find_registered(*registered),
        READ_CAPACITY,
        READ_LOGS,
    )
    return check_access(run, before, lambda: _plan(run.parameters, before, definition, {}), uses, storage)


def _storage(workspace: Workspace) -> str:
    """Return the storage account that the caller uploads to itself; "" also where the datastore cannot be read."""
    try:
        return identity_storage(workspace)
    except AzureError:
        return ""  # the permission to read it is checked with the others


def _read(parameters: DeployParameters) -> DeploymentDefinition:
    """Read the definition, and mask the secrets in it: a log may show them before Azure has the deployment.

    Raises
    ------
    DefinitionError
        If it is another deployment's than the one that was given.
    """
    replacements = read_replacements(parameters.set)
    path, given = Path(parameters.definition), parameters.deployment
    definition = read_deployment(path, parameters.endpoint, given, replacements)
    for section in ("environment_variables", "tags"):
        values = definition.source.get(section)
        register_secrets(
            {str(name): value for name, value in values.items()} if isinstance(values, Mapping) else {}
        )
    if given and definition.name != given:
        raise DefinitionError(
            f"{path} defines {definition.name!r}, and deployment={given!r} was given. Leave it out, or pass set "
            f"with name={given} to create it under that name"
        )
    return definition


def _check_capacity(
    workspace: Workspace, before: Endpoint, definition: DeploymentDefinition
) -> tuple[Finding, ...]:
    """Check instance type and quota in the endpoint's region."""
    offered = read_instance_types(workspace, before)
    finding = definition_preflight.check_instance_type(
        definition.instance_type, {one.name: one.cores for one in offered}
    )
    chosen = next((one for one in offered if one.name.lower() == definition.instance_type.lower()), None)
    quota = next((q for q in read_quotas(workspace, before) if chosen and q.family == chosen.family), None)
    if chosen is None or quota is None:
        return (finding,)
    needed = chosen.cores_needed(definition.instance_count)
    return (finding, definition_preflight.check_quota(quota.family, needed, quota.used, quota.limit))


def _find_assets(workspace: Workspace, definition: DeploymentDefinition) -> tuple[AssetVersion, ...]:
    """Look up the registered model and environment that the definition refers to."""
    found = (
        find_asset(workspace, "models", definition.model),
        find_asset(workspace, "environments", definition.environment),
    )
    return tuple(one for one in found if one is not None)


def deploy(run: Run[DeployParameters], plan: Plan) -> Deployed:
    """Create the deployment and send the probes to it; on any failure, fetch its logs and delete it.

    Raises
    ------
    ApplyError
        If it does not become ready or does not answer as expected; the message ends with the container's logs.
    """
    p = run.parameters
    create, test = plan.steps
    assert isinstance(create, CreateDeployment)
    assert isinstance(test, SendProbes)
    if p.dry_run:
        return Deployed(Outcome.PLANNED, "dry run: nothing was created", create.deployment)
    require_approved(run, plan)
    require_absent(create, run.workspace, p.operation_timeout_s, run.progress)  # before the undo would delete it
    run.journal.write(JournalEvent.APPLYING, create)
    try:
        run.log(JournalEvent.APPLIED, apply(create, run.workspace, p.operation_timeout_s, run.progress))
        probes = _send_probes(run, test)
    except (Drift, CreateRefused, DefinitionError):
        raise  # this run created nothing that it may delete
    except BaseException as error:
        logs = _read_logs(run.workspace, plan.endpoint, create.deployment)
        undo_plan(plan, run.workspace, run.journal, run.progress, p.operation_timeout_s)
        if isinstance(error, ApplyError | AzureError):
            shown = f"Its last log lines:\n{logs}" if logs.strip() else "It has no log."
            raise ApplyError(f"{error}\n\n{create.deployment} was deleted again. {shown}") from error
        raise
    tested = f"{len(probes)} of {len(probes)} probes answered as expected" if probes else "not tested"
    reason = f"{create.deployment} is ready at zero traffic; {tested}"
    return Deployed(Outcome.SUCCEEDED, reason, create.deployment, probes)


def _send_probes(run: Run[DeployParameters], test: SendProbes) -> tuple[ProbeResult, ...]:
    """Send the probes to the new deployment alone."""
    if not test.requests:
        run.progress("the deployment is ready; no probes were given, so it was not tested")
        return ()
    endpoint = run.read_endpoint()
    with scoring_client(run.workspace, endpoint) as client:
        probes = tuple(client.send_all(read_probes(run.parameters.probes), test.requests, test.deployment))
    run.journal.write(JournalEvent.PROBES, probes)
    bad = failures(probes)
    if bad:
        raise ProbeFailed(
            f"{len(bad)} of {len(probes)} probes of {test.deployment} failed; first: {bad[0].problem}"
        )
    run.progress(f"{len(probes)} of {len(probes)} probes of {test.deployment} answered as expected")
    return probes


def _read_logs(workspace: Workspace, endpoint: str, deployment: str) -> str:
    """Read the container's last lines, if there are any: they usually hold the cause."""
    try:
        return read_logs(workspace, endpoint, deployment)
    except OpsError as error:
        return f"(no logs: {error})"
