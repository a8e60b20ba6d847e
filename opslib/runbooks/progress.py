"""How far a run is, read from its journal's events alone.

The kernel follows the events that it writes, the runner those that it reads, so that a notebook and a terminal show
the same. What is left out of a display is in the journal.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, ParamSpec

from opslib.displayed import Displayed
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Traffic

P = ParamSpec("P")

Event = Mapping[str, Any]
"""One line of a journal."""


MESSAGES_KEPT = 200
"""Latest messages that a display holds, so that a notebook of many hours stays small [count]."""

_NEVER = datetime.min.replace(tzinfo=UTC)


def while_shown(show: Callable[P, object]) -> Callable[P, None]:
    """Return what shows progress until it fails, as where the reader of a pipe has gone: nothing ends by that."""
    shows = True

    def show_if_possible(*args: P.args, **kwargs: P.kwargs) -> None:
        nonlocal shows
        if shows:
            try:
                show(*args, **kwargs)
            except OSError:
                shows = False  # the journal has all of it

    return show_if_possible


@dataclass(frozen=True)
class Message:
    """What a run reported, and when [UTC]."""

    at: datetime
    text: str


@dataclass(frozen=True)
class Counts:
    """Failed (or slower) requests and all requests of one deployment that were judged so far [count]."""

    failed: int = 0
    requests: int = 0

    def add(self, failed: int, requests: int) -> "Counts":
        """Return the counts with those of more requests."""
        return Counts(self.failed + failed, self.requests + requests)


@dataclass(frozen=True)
class Progress(Displayed):
    """How far a run is.

    Attributes
    ----------
    at
        Time of the last event [UTC].
    messages, earlier
        What the run reported lately, oldest first, without the looks that only continue; and how many messages
        before them are left out [count].
    look
        Sentence of the latest look that only continues; empty where a message followed it.
    stable, canary
        Names of the two deployments; empty where none is on trial.
    stage, stages
        Number of the stage, from 1, and how many are planned [count].
    traffic, mirror
        Live and mirrored traffic of the stage.
    began_at, bake_s
        Start of the stage's watch, None while none is watched, and its planned length [UTC], [seconds].
    log_e_value, log_limit
        Evidence of harm and the limit that rolls back, as natural logarithms; None before the first look.
    counts
        What was judged so far of each deployment.
    slower
        Of each deployment, by latency: the requests that were slower, and all whose latency is known [ms].
    answer_until, answer_why
        Deadline of an open request for an operator's decision, and its reason; None where there is none [UTC].
    """

    at: datetime = _NEVER
    messages: tuple[Message, ...] = ()
    earlier: int = 0
    look: str = ""
    stable: str = ""
    canary: str = ""
    stage: int = 0
    stages: int = 0
    traffic: Traffic = field(default_factory=dict)
    mirror: Traffic = field(default_factory=dict)
    began_at: datetime | None = None
    bake_s: float = 0.0
    log_e_value: float | None = None
    log_limit: float | None = None
    counts: Mapping[str, Counts] = field(default_factory=dict)
    slower: Mapping[str, Mapping[float, Counts]] = field(default_factory=dict)
    answer_until: datetime | None = None
    answer_why: str = ""

    def reported_since(self, before: "Progress") -> tuple[Message, ...]:
        """Return the messages that are new since an earlier progress of the same run."""
        count = self.earlier + len(self.messages) - before.earlier - len(before.messages)
        return self.messages[-count:] if count > 0 else ()

    def watched_s(self, now: datetime) -> float:
        """Time for which the stage has been watched; 0 where none is [seconds]."""
        return (now - self.began_at).total_seconds() if self.began_at else 0.0


def follow(progress: Progress, event: Event) -> Progress:
    """Return the progress after one more event."""
    data = event["data"]
    now = replace(progress, at=datetime.fromisoformat(event["at"]))
    match event["event"]:
        case JournalEvent.PROGRESS if data != progress.look:
            reported = (*now.messages, Message(now.at, data))
            left_out = max(0, len(reported) - MESSAGES_KEPT)
            now = replace(now, messages=reported[left_out:], earlier=now.earlier + left_out, look="")
        case JournalEvent.PLAN:
            now = _plan(now, data)
        case JournalEvent.APPLYING if data.get("bake_s"):
            mirror = {name: weight for name, weight in (data.get("mirror") or {}).items() if weight}
            now = replace(now, traffic=data["after"], mirror=mirror, bake_s=data["bake_s"], began_at=None)
        case JournalEvent.NEXT_STAGE:
            now = replace(now, stage=now.stage + 1, began_at=now.at)
        case JournalEvent.SMALLER_STEP:
            now = replace(now, stages=now.stage + len(data["steps"]))
        case JournalEvent.LOOK if "details" in data:
            now = _look(now, data)
        case JournalEvent.ASKED:
            until = datetime.fromisoformat(data["until"])
            now = replace(now, answer_until=until, answer_why=data["why"])
        case JournalEvent.ANSWERED | JournalEvent.UNANSWERED | JournalEvent.FINISHED:
            now = replace(now, answer_until=None)
        case JournalEvent.ROLLOUT | JournalEvent.UNDOING | JournalEvent.RAISED:
            now = replace(now, began_at=None, look="", answer_until=None)
    return now


def _plan(progress: Progress, plan: Mapping[str, Any]) -> Progress:
    """Read the two deployments and the number of stages from a plan; one without stages has none."""
    staged = [step for step in plan["steps"] if step.get("bake_s")]
    if not staged:
        return progress
    before: Traffic = plan["before"]["traffic"]
    stable = max(before, key=lambda name: before[name], default="")
    canary = next((name for name in staged[-1]["after"] if not before.get(name)), "")
    return replace(progress, stable=stable, canary=canary, stages=len(staged))


def _look(progress: Progress, look: Mapping[str, Any]) -> Progress:
    verdict, details = look["verdict"], look["details"]
    roles = (("stable", progress.stable), ("canary", progress.canary))
    return replace(
        progress,
        look=verdict["reason"] if verdict["decision"] == "continue" else "",
        log_e_value=details["log_evidence"],
        log_limit=details["log_threshold"],
        counts={name: _count(progress.counts.get(name, Counts()), details["lines"], role) for role, name in roles},
        slower={
            name: _count_slower(progress.slower.get(name, {}), look.get("intervals", ()), role)
            for role, name in roles
        },
    )


def _count(before: Counts, lines: Sequence[Mapping[str, Any]], role: str) -> Counts:
    """Add the users' requests of newly judged intervals; the run's own probes are none of them."""
    rows = [
        metric
        for line in lines
        if line["source"] != "probes"
        for metric in line["metrics"]
        if metric["name"] == "failures"
    ]
    failed, requests = (sum(row[f"{role}_{which}"] for row in rows) for which in ("bad", "n"))
    return before.add(failed, requests)


def _count_slower(
    before: Mapping[float, Counts], intervals: Sequence[Mapping[str, Any]], role: str
) -> dict[float, Counts]:
    """Add how many of the users' requests were slower than each latency; percentiles cannot be added up.

    The run measures stable's latency again in the warm-up, and from then on counts at other latencies. The counts
    begin again there: of different requests, they could bound a percentile from below above its upper bound.
    """
    counts = dict(before)
    for interval in intervals:
        if interval["source"] == "probes":
            continue
        arm = interval[role]
        above = arm.get("above", ())
        if above and counts.keys() != {latency_ms for latency_ms, _ in above}:
            counts = {}
        for latency_ms, slower in above:
            timed = arm.get("timed", arm["requests"])
            counts[latency_ms] = counts.get(latency_ms, Counts()).add(slower, timed)
    return counts
