"""Whether enough people have agreed to a plan, by the endpoint's policy."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from opslib.policy.policy import Approvals


@dataclass(frozen=True)
class Agreement:
    """A person's agreement to the plan of this run: who gave it, when, and whether a known key signed it."""

    who: str
    given_at: datetime
    signed: bool


@dataclass(frozen=True)
class AgreementCount:
    """How many agreements count, and why the others do not.

    Attributes
    ----------
    who
        People whose agreement counts, each once.
    rejected
        A sentence for each that does not count.
    needed
        How many the policy requires.
    """

    who: tuple[str, ...]
    rejected: tuple[str, ...]
    needed: int

    @property
    def enough(self) -> bool:
        """Whether the plan may be applied."""
        return len(self.who) >= self.needed


def count_agreements(rule: Approvals, agreements: Sequence[Agreement], now: datetime) -> AgreementCount:
    """Count the agreements that satisfy a policy's rule: signed, of the named people, and not too old."""
    counted: dict[str, None] = {}
    rejected = []
    for one in agreements:
        age = now - one.given_at
        if not one.signed:
            rejected.append(f"{one.who}: not signed")
        elif rule.of and one.who not in rule.of:
            rejected.append(f"{one.who}: not among {', '.join(rule.of)}")
        elif age > timedelta(hours=rule.valid_h):
            rejected.append(f"{one.who}: {age.total_seconds() / 3600:.1f} h old, valid for {rule.valid_h:g} h")
        else:
            counted[one.who] = None
    return AgreementCount(tuple(counted), tuple(rejected), rule.count)
