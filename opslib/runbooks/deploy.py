"""The deploy runbook: a new deployment at zero traffic, tested by probes that are sent to it directly."""

from dataclasses import dataclass
from datetime import UTC, datetime

from opslib.azure.connect import Workspace
from opslib.azure.definition import Definition, read_definition
from opslib.azure.endpoints import read_logs
from opslib.azure.permissions import missing_actions
from opslib.azure.scoring_client import failures, read_probes, scoring_client
from opslib.displayed import Displayed
from opslib.errors import ApplyError, AzureError, Drift, OpsError, ProbeFailed
from opslib.evidence.run.journal import JournalEvent
from opslib.model import CreateDeployment, Endpoint, Findings, Outcome, Plan, ProbeResult, SendProbes
from opslib.parameters import DeployParameters
from opslib.runbooks.run import Run
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps import preflight
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.undo.undo_plan import undo_plan


@dataclass(frozen=True)
class Deployed(Displayed):
    """How a deployment ended."""

    outcome: Outcome
    reason: str
    deployment: str
    probes: tuple[ProbeResult, ...] = ()


def check_deploy(run: Run[DeployParameters], before: Endpoint) -> Findings:
    """Check whether the deployment can be created."""
    p, scope = run.parameters, run.workspace.scope
    definition = read_definition(p.definition)
    if p.probes:
        read_probes(p.probes)  # a damaged file is refused before anything is created
    findings = (
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        preflight.check_permissions(missing_actions(run.workspace, before, "deploy"), scope.principal),
        preflight.check_owner(before, definition.endpoint),
        preflight.check_absent(before, definition.name),
    )
    return run.log(JournalEvent.PREFLIGHT, Findings(findings))


def plan_deploy(run: Run[DeployParameters], before: Endpoint) -> Plan:
    """Plan the creation and the probes that test it."""
    p = run.parameters
    requests = p.probe_requests if p.probes else 0
    return run.log(JournalEvent.PLAN, planning.plan_create(before, _step(read_definition(p.definition)), requests))


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
    run.journal.write(JournalEvent.APPLYING, create)
    try:
        run.log(JournalEvent.APPLIED, apply(create, run.workspace, p.operation_timeout_s, run.progress))
        probes = _send_probes(run, test)
    except Drift:
        raise  # another change created it: this run must not delete it
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


def _step(definition: Definition) -> CreateDeployment:
    return CreateDeployment(
        endpoint=definition.endpoint,
        deployment=definition.name,
        definition=str(definition.path),
        instance_type=definition.instance_type,
        instance_count=definition.instance_count,
        model=definition.model,
    )
