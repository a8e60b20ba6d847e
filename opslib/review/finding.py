"""One finding of a review, its severity, and the review as a whole."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from opslib.access.assignments import HeldAccess
from opslib.displayed import Displayed
from opslib.model.text import counted


class Severity(StrEnum):
    """How much a finding matters, the most severe first."""

    HIGH = "high"
    MEDIUM = "medium"
    LOW = "low"
    INFO = "info"

    @property
    def rank(self) -> int:
        """0 for the most severe."""
        return list(Severity).index(self)


@dataclass(frozen=True)
class ReviewFinding:
    """What one rule found.

    Attributes
    ----------
    rule
        The rule's id, by which a policy's exception names it.
    severity
        How much it matters.
    subject
        The endpoint, deployment, identity or principal that it is about.
    evidence, fix
        What was read, and what to do about it.
    accepted
        "until DATE by OWNER: REASON" where the policy accepts it; else "".
    """

    rule: str
    severity: Severity
    subject: str
    evidence: str
    fix: str
    accepted: str = ""


@dataclass(frozen=True)
class UnreadPart:
    """What the review could not read, so that it holds no findings about it, and why.

    `decides` is whether without it the review decides nothing: what a reader of the workspace could have read.
    """

    part: str
    reason: str
    decides: bool = False


@dataclass(frozen=True)
class Review(Displayed):
    """What a review of one endpoint found.

    Attributes
    ----------
    endpoint
        ARM id of the endpoint as Azure returned it.
    findings
        The most severe first; accepted ones after the others of their severity.
    access
        Who may do what to the endpoint, by assignment.
    unread
        What could not be read.
    """

    endpoint: str
    findings: tuple[ReviewFinding, ...]
    access: HeldAccess
    unread: tuple[UnreadPart, ...]

    @property
    def open(self) -> tuple[ReviewFinding, ...]:
        """Findings that the policy does not accept."""
        return tuple(one for one in self.findings if not one.accepted)

    def at_least(self, severity: Severity) -> tuple[ReviewFinding, ...]:
        """Return the open findings of this severity and above."""
        return tuple(one for one in self.open if one.severity.rank <= severity.rank)

    @property
    def counts(self) -> Mapping[str, int]:
        """Open findings by severity [count]."""
        return {str(one): sum(found.severity is one for found in self.open) for one in Severity}

    @property
    def sentence(self) -> str:
        """The counts in words."""
        found = ", ".join(f"{count} {severity}" for severity, count in self.counts.items() if count)
        accepted = len(self.findings) - len(self.open)
        parts = [
            f"{counted(len(self.open), 'open finding')} ({found})" if found else "no open findings",
            f"{accepted} accepted by the policy" if accepted else "",
            f"not read: {', '.join(one.part for one in self.unread)}" if self.unread else "",
        ]
        return "; ".join(part for part in parts if part)
