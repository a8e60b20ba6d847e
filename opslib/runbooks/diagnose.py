"""The diagnose runbook: why an endpoint fails, by everything that Azure shows of it. It changes nothing."""

from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta
from functools import partial

from opslib.azure.capacity import read_quotas
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_logs
from opslib.azure.scoring_client import scoring_client
from opslib.azure.symptoms import (
    read_answers,
    read_attempts,
    read_certificate,
    read_last_operation,
    read_utilization,
)
from opslib.definitions.probes import read_probes
from opslib.diagnosis.cause import Diagnosis
from opslib.diagnosis.diagnose import diagnose
from opslib.diagnosis.facts import CONTAINERS, DeploymentFacts, Facts
from opslib.errors import NotFound
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Deployment, Endpoint, Outcome, ProbeResult
from opslib.model.surroundings import Unread
from opslib.parameters.diagnose import DiagnoseParameters
from opslib.runbooks.review import read_facts, try_read
from opslib.runbooks.run import Run

LOG_LINES = 1000
"""Lines of each container's log that are read [count]."""

READS_AT_ONCE = 8


def diagnose_endpoint(run: Run[DiagnoseParameters], before: Endpoint) -> Diagnosis:
    """Read what surrounds the failure, and find its likely causes."""
    p = run.parameters
    facts = read_symptoms(run.workspace, before, p.window_min, p.probes, p.deployment)
    return run.log(JournalEvent.DIAGNOSED, diagnose_facts(facts, p.deployment))


def diagnose_facts(facts: Facts, deployment: str = "") -> Diagnosis:
    """Find the likely causes, of one deployment where one is given.

    Raises
    ------
    NotFound
        If there is no such deployment.
    """
    if not deployment:
        return diagnose(facts)
    known = [one.name for one in facts.endpoint.deployments]
    if deployment.lower() not in {name.lower() for name in known}:
        refused = () if isinstance(facts.attempts, Unread) else facts.attempts
        if not any(one.name.lower() == deployment.lower() for one in refused):
            raise NotFound(
                f"deployment {deployment!r} does not exist on endpoint {facts.endpoint.name}, and the activity log "
                f"has no attempt to create it; the endpoint has: {', '.join(known) or 'none'}"
            )
    return diagnose(facts.of(deployment))


def conclude_diagnosis(found: Diagnosis) -> tuple[Outcome, str]:
    """Return the outcome and its reason: held where no cause was found and a part could not be read."""
    undecided = not found.causes and found.unread
    return (Outcome.HELD if undecided else Outcome.SUCCEEDED), found.sentence


def read_symptoms(
    workspace: Workspace, endpoint: Endpoint, window_min: float, probes: str = "", deployment: str = ""
) -> Facts:
    """Read everything that the rules judge; a part that the caller may not read is kept with the reason.

    Parameters
    ----------
    workspace, endpoint
        The endpoint as it was read.
    window_min
        How far back requests and changes are read [minutes].
    probes
        Path of a file of probes, each of which is sent once; "" sends nothing.
    deployment
        The deployment that the probes are sent to; "" leaves it to the endpoint's traffic.
    """
    at = datetime.now(UTC)
    since = at - timedelta(minutes=window_min)
    with ThreadPoolExecutor(READS_AT_ONCE) as pool:
        surroundings = pool.submit(read_facts, workspace, endpoint, at)
        operation = pool.submit(try_read, partial(read_last_operation, workspace, endpoint.arm))
        attempts = pool.submit(try_read, partial(read_attempts, workspace, endpoint, since))
        certificate = pool.submit(try_read, partial(read_certificate, workspace, endpoint))
        quotas = pool.submit(try_read, partial(read_quotas, workspace, endpoint))
        deployments = [
            pool.submit(_read_deployment, workspace, endpoint, one, since) for one in endpoint.deployments
        ]
        sent = try_read(partial(_send, workspace, endpoint, probes, deployment)) if probes else ()
        answers = pool.submit(try_read, partial(read_answers, workspace, endpoint, since))
        return Facts(
            endpoint=endpoint,
            since=since,
            at=at,
            operation=operation.result(),
            deployments=tuple(one.result() for one in deployments),
            answers=answers.result(),
            attempts=attempts.result(),
            probes=sent,
            certificate=certificate.result(),
            quotas=quotas.result(),
            surroundings=surroundings.result(),
        )


def _read_deployment(
    workspace: Workspace, endpoint: Endpoint, deployment: Deployment, since: datetime
) -> DeploymentFacts:
    def log(container: str) -> str:
        return read_logs(workspace, endpoint.name, deployment.name, LOG_LINES, container)

    return DeploymentFacts(
        deployment=deployment,
        operation=try_read(partial(read_last_operation, workspace, deployment.arm)),
        logs={name: try_read(partial(log, name)) for name in CONTAINERS},
        utilization=try_read(partial(read_utilization, workspace, deployment, since)),
    )


def _send(workspace: Workspace, endpoint: Endpoint, path: str, deployment: str) -> tuple[ProbeResult, ...]:
    probes = read_probes(path)
    with scoring_client(workspace, endpoint) as client:
        return tuple(client.send_all(probes, len(probes), deployment))
