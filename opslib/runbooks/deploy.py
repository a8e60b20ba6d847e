"""The deploy runbook: a new deployment at zero traffic, asked directly before anybody calls it ready."""

from dataclasses import dataclass
from datetime import UTC, datetime

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


@dataclass(frozen=True)
class Deployed(Displayed):
    """How a deployment went."""

    outcome: Outcome
    reason: str
    deployment: str
    probes: tuple[ProbeResult, ...] = ()


def check_deploy(run: Run[DeployParameters], before: Endpoint) -> Findings:
    """Look for what stands against the deployment."""
    definition = read_definition(run.parameters.definition)
    if run.parameters.probes:
        read_probes(run.parameters.probes)
    findings = (
        preflight.check_state(before),
        preflight.check_lease(before, datetime.now(UTC)),
        preflight.check_permissions(
            missing_actions(run.workspace, before, "deploy"), run.workspace.scope.principal
        ),
        preflight.check_owner(before, definition.endpoint),
        preflight.check_absent(before, definition.name),
    )
    return run.note(JournalEvent.PREFLIGHT, Findings(findings))


def plan_deploy(run: Run[DeployParameters], before: Endpoint) -> Plan:
    """Plan the creation and the requests that prove it."""
    definition = read_definition(run.parameters.definition)
    requests = run.parameters.probe_requests if run.parameters.probes else 0
    return run.note(JournalEvent.PLAN, planning.plan_create(before, _step(definition), requests))


def deploy(run: Run[DeployParameters], plan: Plan) -> Deployed:
    """Create the deployment and ask it; on any failure, fetch its logs and remove it again.

    Raises
    ------
    ApplyError
        If it does not become ready or does not answer as expected; the message ends with the container's logs.
    """
    create, ask = plan.steps
    assert isinstance(create, CreateDeployment)
    assert isinstance(ask, SendProbes)
    if run.parameters.dry_run:
        return Deployed(Outcome.PLANNED, "dry run: nothing was created", create.deployment)
    run.journal.write(JournalEvent.APPLYING, create)
    try:
        run.note(JournalEvent.APPLIED, apply(create, run.workspace, run.parameters.operation_timeout_s, run.say))
        probes = _ask(run, ask)
    except Drift:
        raise  # it is somebody else's: nothing of this run is there to remove
    except BaseException as error:
        logs = _logs(run, create.deployment)
        _remove(run, plan)
        if isinstance(error, ApplyError | AzureError):
            said = f"Its last log lines:\n{logs}" if logs.strip() else "It had written no log."
            raise ApplyError(f"{error}\n\n{create.deployment} was removed again. {said}") from error
        raise
    reason = f"{create.deployment} is ready at zero traffic; {len(probes)} requests answered as expected"
    return Deployed(Outcome.SUCCEEDED, reason, create.deployment, probes)


def _ask(run: Run[DeployParameters], ask: SendProbes) -> tuple[ProbeResult, ...]:
    """Send the probes to the new deployment alone."""
    if not ask.requests:
        run.say("no probes were given: the deployment is ready, and nobody asked it anything")
        return ()
    endpoint = run.read_endpoint()
    with scoring_client(run.workspace, endpoint) as client:
        probes = tuple(client.send_all(read_probes(run.parameters.probes), ask.requests, ask.deployment))
    run.journal.write(JournalEvent.PROBES, probes)
    bad = failures(probes)
    if bad:
        raise ProbeFailed(
            f"{ask.deployment} answered {len(bad)} of {len(probes)} requests wrongly, the first: {bad[0].problem}"
        )
    run.say(f"{ask.deployment} answered {len(probes)} of {len(probes)} requests as expected")
    return probes


def _logs(run: Run[DeployParameters], deployment: str) -> str:
    """The container's last lines, where there are any: they are the reason that a person can act on."""
    try:
        return read_logs(run.workspace, run.parameters.endpoint, deployment)
    except OpsError as error:
        return f"(no logs: {error})"


def _remove(run: Run[DeployParameters], plan: Plan) -> None:
    """Undo: a failed deployment keeps billing until it is deleted."""
    for step in plan.undo:
        run.journal.write(JournalEvent.UNDOING, step)
        run.note(JournalEvent.UNDONE, apply(step, run.workspace, run.parameters.operation_timeout_s, run.say))


def _step(definition: Definition) -> CreateDeployment:
    return CreateDeployment(
        endpoint=definition.endpoint,
        deployment=definition.name,
        definition=str(definition.path),
        instance_type=definition.instance_type,
        instance_count=definition.instance_count,
        model=definition.model,
    )
