"""A notice: one thing that happened in a run, for people and programs that do not watch it."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

NoticeEvent = Literal[
    "decision_requested",
    "held",
    "rolled_back",
    "promoted",
    "approval_needed",
    "undo_failed",
    "failed",
    "lease_recovered",
]
"""What a policy's notifications may name."""

Form = Literal["cloudevents", "teams", "slack"]

TITLES: Mapping[NoticeEvent, str] = {
    "decision_requested": "A person must decide",
    "held": "Held: not decided, or not verified",
    "rolled_back": "Rolled back",
    "promoted": "Promoted",
    "approval_needed": "An approval is needed",
    "undo_failed": "UNDO FAILED: check the endpoint now",
    "failed": "Failed",
    "lease_recovered": "The traffic of an unwatched canary was returned",
}

URGENT: frozenset[NoticeEvent] = frozenset({"undo_failed"})
WANTS_A_PERSON: frozenset[NoticeEvent] = frozenset({"decision_requested", "approval_needed", "held", "failed"})


@dataclass(frozen=True)
class ServedCount:
    """Failed requests and all requests that were judged of one deployment [count]."""

    deployment: str
    failed: int
    requests: int

    def __str__(self) -> str:
        return f"{self.deployment}: {self.failed:,} of {self.requests:,} requests failed"


@dataclass(frozen=True)
class Notice:
    """What is sent.

    Attributes
    ----------
    event
        What happened.
    id
        Identifies the notice: the same one, sent again, has the same id.
    at
        When it happened, ISO 8601 [UTC].
    source
        ARM id of the endpoint.
    endpoint, runbook, run_id
        Where it happened.
    reason
        The run's own sentence.
    counts
        What was judged of each deployment; empty where nothing was.
    commands
        What a person can type.
    """

    event: NoticeEvent
    id: str
    at: str
    source: str
    endpoint: str
    runbook: str
    run_id: str
    reason: str
    counts: tuple[ServedCount, ...] = ()
    commands: tuple[str, ...] = ()

    @property
    def title(self) -> str:
        """Heading: what happened, and to which endpoint."""
        return f"{TITLES[self.event]}: {self.runbook} of {self.endpoint}"
