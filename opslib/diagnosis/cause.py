"""One likely cause, its evidence and the next action; and the diagnosis as a whole."""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from opslib.diagnosis.layers import Layer
from opslib.displayed import Displayed
from opslib.review.finding import UnreadPart


class Certainty(StrEnum):
    """How far the evidence goes, the most certain first."""

    CERTAIN = "certain"
    LIKELY = "likely"
    POSSIBLE = "possible"

    @property
    def rank(self) -> int:
        """0 for the most certain."""
        return list(Certainty).index(self)


@dataclass(frozen=True)
class Evidence:
    """What was seen, where, and when ("" where Azure gives no time)."""

    seen: str
    where: str
    when: str = ""

    def __str__(self) -> str:
        """Place, time and what was seen."""
        return f"{self.where}{f', {self.when}' if self.when else ''}: {self.seen}"


@dataclass(frozen=True)
class Cause:
    """A cause that the evidence shows.

    Attributes
    ----------
    id
        Its id in `CAUSES`.
    certainty
        How far the evidence goes.
    subject
        The endpoint or deployment that it concerns.
    summary
        What is wrong, in one sentence.
    evidence
        What shows it, the strongest first.
    command
        What to type next.
    advice
        What to do then.
    weight
        Requests that it affects, or the live traffic of its deployment; orders causes of the same certainty.
    layers
        The error that it was found in, outermost first; empty where there was none.
    """

    id: str
    certainty: Certainty
    subject: str
    summary: str
    evidence: tuple[Evidence, ...]
    command: str
    advice: str
    weight: float = 0.0
    layers: tuple[Layer, ...] = ()


@dataclass(frozen=True)
class Diagnosis(Displayed):
    """The likely causes of what is wrong with an endpoint, in order.

    Attributes
    ----------
    endpoint
        ARM id of the endpoint.
    since, at
        The time that was looked at [UTC].
    causes
        The most certain first, then the one that affects most.
    observed
        What was seen, in words, whether or not it is a fault.
    unread
        What could not be read: a cause there would not be found.
    """

    endpoint: str
    since: datetime
    at: datetime
    causes: tuple[Cause, ...]
    observed: tuple[str, ...]
    unread: tuple[UnreadPart, ...]

    @property
    def sentence(self) -> str:
        """The conclusion in words."""
        unread = f"; not read: {', '.join(one.part for one in self.unread)}" if self.unread else ""
        if not self.causes:
            return f"no fault was found{unread}"
        first, more = self.causes[0], len(self.causes) - 1
        others = f"; {more} more cause{'s' if more > 1 else ''}" if more else ""
        return f"{first.certainty}: {first.subject}: {first.summary}{others}{unread}"
