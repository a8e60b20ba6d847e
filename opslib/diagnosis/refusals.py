"""Causes of changes that Azure refused at once: the newest attempt on each resource, by the activity log."""

import re
from collections.abc import Iterator

from opslib.diagnosis.catalogue import find_action
from opslib.diagnosis.cause import Cause, Certainty, Evidence
from opslib.diagnosis.facts import Facts
from opslib.diagnosis.layers import Layer, innermost, unwrap
from opslib.model.surroundings import Unread
from opslib.model.symptoms import Attempt

_QUOTA = re.compile(r"Not enough quota available for (?P<type>\S+).*?(?P<used>\d+)/(?P<limit>\d+)\.", re.DOTALL)
RULES: tuple[tuple[re.Pattern[str], str], ...] = (
    (_QUOTA, "quota"),
    (re.compile(r"is in \w+ provisioning state|operation already in progress", re.IGNORECASE), "conflict"),
    (re.compile(r"AuthorizationFailed|does not have authorization to perform action"), "caller-forbidden"),
    (
        re.compile(r"scoring script .* is not in|entry script .* not found|open scoring script", re.IGNORECASE),
        "script-missing",
    ),
    (re.compile(r"InternalServerError|ServiceUnavailable"), "service"),
)


def find_refusals(facts: Facts) -> Iterator[Cause]:
    """Yield a cause for each resource whose newest change was refused."""
    if isinstance(facts.attempts, Unread):
        return
    newest: dict[str, Attempt] = {}
    for one in facts.attempts:
        newest.setdefault(one.resource_id.lower(), one)
    for one in newest.values():
        if not one.succeeded:
            yield _cause(facts, one)


def _cause(facts: Facts, one: Attempt) -> Cause:
    layers = unwrap(one.message, "ARM error") if one.message else (Layer("ARM error", "", "without a message"),)
    text = "\n".join(str(layer) for layer in layers)
    kind = next((kind for pattern, kind in RULES if pattern.search(text)), "refused")
    is_endpoint = one.name.lower() == facts.endpoint.name.lower()
    subject = f"{'endpoint' if is_endpoint else 'deployment'} {one.name}"
    seen = f"{one.action} by {one.caller} was refused: {innermost(layers).message}"
    evidence = [Evidence(seen, "activity log", one.at.isoformat(timespec="seconds"))]
    if kind == "quota":
        evidence += _quota_left(facts, text)
    names = {"e": facts.endpoint.name, "d": one.name, "caller": one.caller, "w": facts.workspace_name}
    action = find_action(kind, **names)
    certainty = Certainty.LIKELY if kind in {"conflict", "service"} else Certainty.CERTAIN
    summary = f"{one.action} was refused: {innermost(layers).message}"
    return Cause(kind, certainty, subject, summary, tuple(evidence), action.command, action.advice, 1.0, layers)


def _quota_left(facts: Facts, text: str) -> Iterator[Evidence]:
    """Yield the region's quotas that are used up or nearly so, as read now."""
    found = _QUOTA.search(text)
    if found:
        yield Evidence(
            f"{found['used']} of {found['limit']} cores of the family of {found['type']} used", "refusal"
        )
    if not isinstance(facts.quotas, Unread):
        for quota in facts.quotas:
            if quota.limit > 0 and quota.used >= 0.8 * quota.limit:
                yield Evidence(f"{quota.used} of {quota.limit} used now", f"quota {quota.family}")
