"""Causes in what surrounds the deployments: traffic rules, probes' answers, certificate, network, identity."""

from collections.abc import Iterator
from datetime import timedelta

from opslib.diagnosis.catalogue import find_action
from opslib.diagnosis.cause import Cause, Certainty, Evidence
from opslib.diagnosis.facts import Facts
from opslib.model.surroundings import Unread
from opslib.policy.security import Security
from opslib.review.identity import check_identity

CERTIFICATE_LEFT = timedelta(days=3)
"""Time to a certificate's end from which it is named; Azure renews its own weeks before."""


def find_environs(facts: Facts) -> Iterator[Cause]:
    """Yield the causes that no error names."""
    yield from _traffic(facts)
    yield from _probes(facts)
    yield from _certificate(facts)
    yield from _network(facts)
    yield from _identity(facts)


def _traffic(facts: Facts) -> Iterator[Cause]:
    endpoint = facts.endpoint
    if not endpoint.deployments:
        yield _cause(facts, "no-deployment", Certainty.CERTAIN, "it has no deployment", ())
    elif not any(endpoint.traffic.values()):
        seen = (Evidence("traffic is 0 % for every deployment", f"endpoint {endpoint.name}"),)
        yield _cause(facts, "no-traffic", Certainty.CERTAIN, "no deployment takes traffic", seen)


def _probes(facts: Facts) -> Iterator[Cause]:
    """Probes that were answered with 200 and another answer than expected, or not at all."""
    if isinstance(facts.probes, Unread):
        return
    failed = [one for one in facts.probes if not one.ok]
    wrong = [one for one in failed if one.status == 200]
    silent = [one for one in failed if one.status is None]
    total = len(facts.probes)
    for cause, found, summary in (
        ("probe-answers", wrong, "probes got another answer than expected"),
        ("network", silent, "probes got no answer"),
    ):
        if found:
            seen = f"{len(found)} of {total} probes failed; first: {found[0].problem}"
            evidence = (Evidence(seen, "probes", found[0].sent_at.isoformat(timespec="seconds")),)
            yield _cause(facts, cause, Certainty.LIKELY, summary, evidence, found[0].deployment)


def _certificate(facts: Facts) -> Iterator[Cause]:
    found = facts.certificate
    if isinstance(found, Unread):
        return
    if found.problem:
        evidence = (Evidence(found.problem, f"TLS connection to {found.host}"),)
        yield _cause(
            facts, "certificate", Certainty.LIKELY, f"its certificate is refused: {found.problem}", evidence
        )
    elif found.not_after and found.not_after - facts.at < CERTIFICATE_LEFT:
        evidence = (Evidence(f"issued by {found.issuer}", f"TLS connection to {found.host}"),)
        summary = f"its certificate ends {found.not_after:%Y-%m-%d %H:%M} UTC"
        yield _cause(facts, "certificate", Certainty.POSSIBLE, summary, evidence)


def _network(facts: Facts) -> Iterator[Cause]:
    """The address cannot be reached from here, and public access is switched off."""
    access = str(facts.endpoint.arm["properties"].get("publicNetworkAccess") or "Enabled")
    if isinstance(facts.certificate, Unread) and access.lower() == "disabled":
        seen = (
            Evidence(f"publicNetworkAccess is {access}", f"endpoint {facts.endpoint.name}"),
            Evidence(facts.certificate.reason, "TLS connection"),
        )
        summary = "it is reached through the workspace's private endpoint only, and not from this machine"
        yield _cause(facts, "network", Certainty.POSSIBLE, summary, seen)


def _identity(facts: Facts) -> Iterator[Cause]:
    """A role of the endpoint's identity is missing: the next start of an instance needs it."""
    for one in check_identity(facts.surroundings, Security()):
        if one.rule == "identity-missing-role":
            action = find_action("identity-roles", fix=one.fix)
            evidence = (Evidence(one.evidence, "role assignments"),)
            summary = "its identity lacks a role that the next start of an instance needs"
            subject = f"endpoint {facts.endpoint.name}"
            yield Cause(
                "identity-roles", Certainty.POSSIBLE, subject, summary, evidence, action.command, action.advice
            )


def _cause(
    facts: Facts,
    cause: str,
    certainty: Certainty,
    summary: str,
    evidence: tuple[Evidence, ...],
    deployment: str = "",
) -> Cause:
    endpoint = facts.endpoint
    first = deployment or next((one.name for one in endpoint.deployments), "DEPLOYMENT")
    host = endpoint.scoring_uri.removeprefix("https://").split("/")[0]
    action = find_action(cause, e=endpoint.name, d=first, host=host if ":" in host else f"{host}:443")
    subject = f"deployment {deployment}" if deployment else f"endpoint {endpoint.name}"
    return Cause(cause, certainty, subject, summary, evidence, action.command, action.advice, 1.0)
