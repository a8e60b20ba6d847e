"""The diagnosis: every rule over the facts, the causes in order, and what was seen."""

from collections.abc import Iterator

from opslib.diagnosis.answers import find_answer_causes, read_rows
from opslib.diagnosis.cause import Cause, Diagnosis
from opslib.diagnosis.environs import find_environs
from opslib.diagnosis.facts import Facts
from opslib.diagnosis.refusals import find_refusals
from opslib.diagnosis.starts import find_start_causes
from opslib.model.surroundings import Unread, WorkspaceSettings
from opslib.model.symptoms import Utilization
from opslib.review.finding import UnreadPart

SHOWN_CHANGES = 5
"""Newest changes that are listed [count]."""


def diagnose(facts: Facts) -> Diagnosis:
    """Apply every rule; a part that could not be read is named, and no cause is found in it."""
    found = [*find_start_causes(facts), *find_refusals(facts), *find_answer_causes(facts), *find_environs(facts)]
    ordered = sorted(_once(found), key=lambda one: (one.certainty.rank, -one.weight))
    return Diagnosis(
        endpoint=facts.endpoint.id,
        since=facts.since,
        at=facts.at,
        causes=tuple(ordered),
        observed=tuple(_observe(facts)),
        unread=tuple(UnreadPart(part, reason) for part, reason in facts.unread()),
    )


def _once(causes: list[Cause]) -> Iterator[Cause]:
    """Yield each cause of a subject once, and a missing role only where no start has failed for it."""
    seen: set[tuple[str, str]] = set()
    ids = {one.id for one in causes}
    for one in causes:
        implied = one.id == "identity-roles" and ids & {"model-access", "image-access"}
        if (one.id, one.subject) not in seen and not implied:
            yield one
        seen.add((one.id, one.subject))


def _observe(facts: Facts) -> Iterator[str]:
    endpoint = facts.endpoint
    yield f"endpoint {endpoint.name}: {endpoint.provisioning_state}, authMode {endpoint.auth_mode}"
    for one in facts.deployments:
        deployment = one.deployment
        used = one.utilization
        shown = ""
        if isinstance(used, Utilization) and used.cpu is not None and used.memory is not None:
            shown = f", at most {used.cpu:.0f} % CPU and {used.memory:.0f} % memory"
        yield (
            f"deployment {one.name}: {deployment.provisioning_state}, {endpoint.traffic.get(one.name, 0)} % of the "
            f"traffic, {deployment.instance_count} x {deployment.instance_type}, {deployment.model}{shown}"
        )
    yield from _requests(facts)
    if not isinstance(facts.attempts, Unread):
        for attempt in facts.attempts[:SHOWN_CHANGES]:
            ended = "" if attempt.succeeded else ", refused"
            what = f"{attempt.action} of {attempt.name} by {attempt.caller}{ended}"
            yield f"change: {attempt.at:%Y-%m-%d %H:%M:%S} UTC, {what}"
    if isinstance(facts.surroundings.workspace, WorkspaceSettings):
        access = endpoint.arm["properties"].get("publicNetworkAccess") or "Enabled"
        isolation = facts.surroundings.workspace.isolation or "none"
        yield f"network: publicNetworkAccess {access}, isolation of the workspace's managed network {isolation}"
    if not isinstance(facts.certificate, Unread) and facts.certificate.not_after:
        yield f"certificate: of {facts.certificate.issuer}, valid until {facts.certificate.not_after:%Y-%m-%d}"
    if not isinstance(facts.probes, Unread) and facts.probes:
        good = sum(one.ok for one in facts.probes)
        yield f"probes: {good} of {len(facts.probes)} answered as expected"


def _requests(facts: Facts) -> Iterator[str]:
    minutes = (facts.at - facts.since).total_seconds() / 60
    rows = read_rows(facts)
    if not isinstance(facts.answers, Unread) and not rows:
        yield f"requests: none in the last {minutes:.0f} minutes; metrics are minutes late"
    totals: dict[tuple[str, int], int] = {}
    for row in rows:
        key = (row.deployment or "no deployment", row.status)
        totals[key] = totals.get(key, 0) + row.requests
    for (deployment, status), requests in sorted(totals.items()):
        yield f"requests: {requests} answered {status} by {deployment} in the last {minutes:.0f} minutes"
