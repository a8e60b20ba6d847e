"""Causes of requests that were not answered with 200, by status, reason, and what the container's log holds.

Source of the statuses: Microsoft Learn, "Troubleshooting online endpoints", HTTP status codes of managed endpoints.
"""

import re
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from opslib.diagnosis.catalogue import find_action
from opslib.diagnosis.cause import Cause, Certainty, Evidence
from opslib.diagnosis.facts import SERVER, DeploymentFacts, Facts
from opslib.diagnosis.log import Event, Phase, read_log
from opslib.model.surroundings import Unread
from opslib.model.symptoms import AnswerCount, Utilization
from opslib.review.credentials import created_at

HIGH_PERCENT = 90.0
"""Utilization from which memory is taken for the reason of a killed container [percent]."""

_CREDENTIALS = {
    "key": "one of the endpoint's two keys",
    "amltoken": "a token of az ml online-endpoint get-credentials, renewed within a day",
    "aadtoken": "a Microsoft Entra token for https://ml.azure.com, of a caller that may score",
}
_OOM = re.compile(r"OOMKilled|code (?:-9|137)\b")
_GONE = frozenset({"model_not_ready", "no_healthy_upstream"})
_PROBES = ("LivenessProbeFailed", "ReadinessProbeFailed")


@dataclass(frozen=True)
class _Group:
    """Requests of one deployment with the same cause."""

    id: str
    deployment: str
    rows: list[AnswerCount] = field(default_factory=list)

    @property
    def requests(self) -> int:
        return sum(one.requests for one in self.rows)

    @property
    def status(self) -> int:
        return self.rows[0].status

    @property
    def first(self) -> datetime:
        return min(one.first for one in self.rows)

    @property
    def when(self) -> str:
        last = max(one.last for one in self.rows)
        return f"{self.first:%Y-%m-%d %H:%M:%S} to {last:%H:%M:%S} UTC"


def find_answer_causes(facts: Facts) -> Iterator[Cause]:
    """Yield a cause for each way in which requests failed, and for instances that died without a request."""
    rows = read_rows(facts)
    groups: dict[tuple[str, str], _Group] = {}
    for row in rows:
        kind = classify(row, facts)
        if kind:
            groups.setdefault((kind, row.deployment), _Group(kind, row.deployment)).rows.append(row)
    for group in groups.values():
        yield _cause(facts, group, sum(one.requests for one in rows))
    counted = {deployment for kind, deployment in groups if kind in {"instances-dead", "out-of-memory"}}
    for one in facts.deployments:
        if one.name not in counted and one.deployment.provisioning_state == "Succeeded":
            yield from _ended_containers(facts, one)


def read_rows(facts: Facts) -> tuple[AnswerCount, ...]:
    """Return the counted requests, and the probes that are not among them yet: metrics are minutes late.

    A probe is among them where the same deployment has requests with the same status. Requests to an endpoint or
    deployment that had the same name and was deleted are left out.
    """
    counted = _counted(facts)
    known = {(one.deployment.lower(), one.status) for one in counted}
    probes = () if isinstance(facts.probes, Unread) else facts.probes
    sent = (
        AnswerCount(one.deployment, one.status, "", 1, one.sent_at, one.sent_at)
        for one in probes
        if one.status is not None and (one.deployment.lower(), one.status) not in known
    )
    return (*counted, *sent)


def _counted(facts: Facts) -> tuple[AnswerCount, ...]:
    if isinstance(facts.answers, Unread):
        return ()
    created = {one.name.lower(): created_at(one.deployment.arm) for one in facts.deployments}
    own = created_at(facts.endpoint.arm)
    return tuple(one for one in facts.answers if _is_after(one, created.get(one.deployment.lower()) or own))


def _is_after(row: AnswerCount, created: datetime | None) -> bool:
    """Return whether requests may be later than a creation; a metric's times are the begin of their minute."""
    return created is None or row.last + timedelta(minutes=1) >= created


def classify(row: AnswerCount, facts: Facts) -> str:
    """Return the id of what requests with this answer have as their cause; "" for answered ones."""
    status, reason = row.status, row.reason
    if status < 400:
        return ""
    if status in {401, 403}:
        return "keys-regenerated" if _regenerated(facts, row) else "credential"
    if status == 404:
        idle = reason == "no_traffic" or (not reason and not any(facts.endpoint.traffic.values()))
        return "no-traffic" if idle else "wrong-deployment"
    if status == 429:
        return (
            "overload" if reason == "too_many_pending_request" or (not reason and row.deployment) else "rate-limit"
        )
    if status in {424, 503}:
        gone = reason in _GONE or row.model_status == "503" or (status == 503 and not reason)
        return _why_gone(facts, row.deployment) if gone else _container_error(facts, row.deployment)
    return {408: "timeout", 413: "payload"}.get(status, "service-answers" if status >= 500 else "refused")


def _regenerated(facts: Facts, row: AnswerCount) -> bool:
    """Return whether a key was regenerated before these requests, or at most a minute after the first of them."""
    return any(at <= row.last + timedelta(minutes=1) for at, _ in regenerations(facts))


def regenerations(facts: Facts) -> tuple[tuple[datetime, str], ...]:
    """Return when keys were regenerated in the time that was read, and by whom."""
    attempts = () if isinstance(facts.attempts, Unread) else facts.attempts
    return tuple(
        (one.at, one.caller) for one in attempts if one.succeeded and one.action.lower() == "regeneratekeys"
    )


def _find(facts: Facts, deployment: str) -> DeploymentFacts | None:
    return next((one for one in facts.deployments if one.name.lower() == deployment.lower()), None)


def _container_error(facts: Facts, deployment: str) -> str:
    one = _find(facts, deployment)
    raised = one is not None and any(error.phase is Phase.RUN for error in read_log(one.log(SERVER)).errors)
    return "user-code" if raised else "model-status"


def _why_gone(facts: Facts, deployment: str) -> str:
    one = _find(facts, deployment)
    return "out-of-memory" if one is not None and _memory_evidence(one) else "instances-dead"


def _memory_evidence(one: DeploymentFacts) -> tuple[Evidence, ...]:
    """Return what shows that a container was killed for want of memory; empty where nothing does."""
    log = read_log(one.log(SERVER))
    line = log.line_with("SIGKILL", "out of memory") or log.line_with("OOMKilled")
    memory = one.utilization.memory if isinstance(one.utilization, Utilization) else None
    high = memory is not None and memory >= HIGH_PERCENT
    ended = next((event for event in reversed(log.events) if _OOM.search(event.message)), None)
    if not line and not (ended and (high or "OOM" in ended.message)):
        return ()
    found = [Evidence(line, f"log of {one.name}'s {SERVER}")] if line else []
    found += _event_evidence(ended, one.name)
    if high:
        found.append(Evidence(f"memory utilization reached {memory:.0f} %", f"metrics of {one.name}"))
    return tuple(found)


def _ended_containers(facts: Facts, one: DeploymentFacts) -> Iterator[Cause]:
    """Yield a cause for a container that ended or did not answer its probes in the time that was read."""
    memory = _memory_evidence(one)
    log = read_log(one.log(SERVER))
    failed = (event for event in reversed(log.events) if _is_failure(event.name) and _is_in(event.time, facts))
    event = next(failed, None)
    if event is None and not memory:
        return
    kind = "out-of-memory" if memory else "instances-dead"
    shown = (*memory, *_event_evidence(event, one.name))
    what = "a container was killed for want of memory" if memory else "an instance ended or failed its probes"
    action = find_action(kind, e=facts.endpoint.name, d=one.name)
    weight = facts.endpoint.traffic.get(one.name, 0)
    yield Cause(
        kind, Certainty.LIKELY, f"deployment {one.name}", what, shown, action.command, action.advice, weight
    )


def _event_evidence(event: Event | None, deployment: str) -> tuple[Evidence, ...]:
    if event is None:
        return ()
    return (Evidence(f"{event.name}: {event.message}", f"event of {deployment}", event.time),)


def _is_failure(event: str) -> bool:
    return event in {"BackOff", *_PROBES}


def _is_in(time: str, facts: Facts) -> bool:
    try:
        return datetime.fromisoformat(time) >= facts.since
    except ValueError:
        return False


def _cause(facts: Facts, group: _Group, total: int) -> Cause:
    one = _find(facts, group.deployment)
    rows = ", ".join(sorted({_row(row) for row in group.rows}))
    evidence = [Evidence(f"{group.requests} of {total} requests were answered {rows}", "requests", group.when)]
    certainty, summary, more = _explain(facts, group, one)
    names: dict[str, object] = {"e": facts.endpoint.name, "d": group.deployment or "DEPLOYMENT"}
    names["credential"] = _CREDENTIALS.get(facts.endpoint.auth_mode.lower(), "that its mode names")
    names["more"] = one.deployment.instance_count + 1 if one else "N"
    names["d"] = group.deployment or next((d.name for d in facts.endpoint.deployments), "DEPLOYMENT")
    action = find_action(group.id, **names)
    subject = f"deployment {group.deployment}" if group.deployment else f"endpoint {facts.endpoint.name}"
    shown = (*more, *evidence) if group.id == "user-code" else (*evidence, *more)
    return Cause(group.id, certainty, subject, summary, shown, action.command, action.advice, float(group.requests))


def _row(row: AnswerCount) -> str:
    model = f", container {row.model_status}" if row.model_status and row.model_status != str(row.status) else ""
    detail = f" ({row.reason}{model})" if row.reason else f" ({model[2:]})" if model else ""
    return f"{row.status}{detail}"


Explained = tuple[Certainty, str, tuple[Evidence, ...]]
"""How certain a cause is, what is wrong, and what else shows it."""


def _explain(facts: Facts, group: _Group, one: DeploymentFacts | None) -> Explained:
    if group.id == "keys-regenerated":
        at, caller = max(regenerations(facts))
        seen = Evidence(f"regenerateKeys by {caller}", "activity log", at.isoformat(timespec="seconds"))
        return Certainty.LIKELY, "clients still send a key that was regenerated", (seen,)
    explain = _OF_DEPLOYMENT.get(group.id)
    if explain is not None and one is not None:
        return explain(facts, one)
    certainty, summary = _SENTENCES[group.id]
    return certainty, summary.format(mode=facts.endpoint.auth_mode, status=group.status), ()


def _explain_user_code(facts: Facts, one: DeploymentFacts) -> Explained:
    del facts
    error = next(error for error in reversed(read_log(one.log(SERVER)).errors) if error.phase is Phase.RUN)
    seen = Evidence(f"{error} ({error.where})", f"log of {one.name}'s {SERVER}")
    return Certainty.CERTAIN, f"run() raises {error} ({error.where})", (seen,)


def _explain_memory(facts: Facts, one: DeploymentFacts) -> Explained:
    del facts
    return Certainty.LIKELY, "a container was killed for want of memory", _memory_evidence(one)


def _explain_dead(facts: Facts, one: DeploymentFacts) -> Explained:
    del facts
    event = read_log(one.log(SERVER)).find("BackOff", "Killing", *_PROBES)
    return Certainty.LIKELY, "no instance was there to answer", _event_evidence(event, one.name)


def _explain_timeout(facts: Facts, one: DeploymentFacts) -> Explained:
    settings = one.deployment.arm["properties"].get("requestSettings") or {}
    allowed = settings.get("requestTimeout", "unknown")
    limit = Evidence(f"requestTimeout {allowed}", f"settings of {one.name}")
    hung = read_log(one.log(SERVER)).find(*_PROBES)
    if hung and _is_in(hung.time, facts):
        shown = (limit, *_event_evidence(hung, one.name))
        return Certainty.LIKELY, "an instance did not answer, and failed its probes", shown
    return Certainty.CERTAIN, f"the model takes longer than its limit, {allowed}", (limit,)


def _explain_overload(facts: Facts, one: DeploymentFacts) -> Explained:
    del facts
    each, count = one.deployment.max_concurrent_requests_per_instance, one.deployment.instance_count
    limit = f"{count} instances, {each} concurrent requests each: limit {2 * each * count} pending"
    summary = "more requests were pending than the deployment may hold"
    return Certainty.CERTAIN, summary, (Evidence(limit, f"settings of {one.name}"),)


_OF_DEPLOYMENT: dict[str, Callable[[Facts, DeploymentFacts], Explained]] = {
    "user-code": _explain_user_code,
    "out-of-memory": _explain_memory,
    "instances-dead": _explain_dead,
    "timeout": _explain_timeout,
    "overload": _explain_overload,
}
_SENTENCES: dict[str, tuple[Certainty, str]] = {
    "credential": (
        Certainty.LIKELY,
        "clients send no valid credential of authMode {mode}: another mode's, a wrong one, or no permission",
    ),
    "no-traffic": (Certainty.CERTAIN, "no deployment takes traffic"),
    "wrong-deployment": (
        Certainty.LIKELY,
        "clients name a deployment that does not exist, or send to another path than the scoring address",
    ),
    "timeout": (Certainty.CERTAIN, "the model takes longer than its limit"),
    "instances-dead": (Certainty.LIKELY, "no instance was there to answer"),
    "overload": (Certainty.CERTAIN, "more requests were pending than the deployment may hold"),
    "rate-limit": (Certainty.LIKELY, "the endpoint's limit of requests or connections was exceeded"),
    "model-status": (
        Certainty.LIKELY,
        "the container answers with an error, and its log holds no exception of run()",
    ),
    "user-code": (Certainty.LIKELY, "the container answers with an error"),
    "out-of-memory": (Certainty.LIKELY, "a container was killed for want of memory"),
    "payload": (Certainty.CERTAIN, "requests are larger than the endpoint accepts"),
    "service-answers": (Certainty.LIKELY, "Azure's own infrastructure answered {status}"),
    "refused": (Certainty.POSSIBLE, "requests were answered {status}"),
}
