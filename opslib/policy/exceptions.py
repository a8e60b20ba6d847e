"""Findings that a policy accepts for a time: which exception holds, and which has expired. Pure."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from opslib.policy.security import RuleException


@dataclass(frozen=True)
class Exceptions:
    """The exceptions of a policy at one moment."""

    given: Sequence[RuleException]
    now: datetime

    def accepted(self, rule: str) -> str:
        """Return "until DATE by OWNER: REASON" of the exception that holds for a rule; "" for none."""
        holding = (one for one in self.given if one.rule == rule and self.now < one.expires)
        longest = max(holding, key=lambda one: one.expires, default=None)
        return f"until {longest.expires:%Y-%m-%d} by {longest.owner}: {longest.reason}" if longest else ""

    @property
    def expired(self) -> tuple[RuleException, ...]:
        """Exceptions that no longer hold and must be renewed or removed."""
        return tuple(one for one in self.given if one.expires <= self.now)


def describe_expired(exception: RuleException) -> str:
    """Describe an exception that has expired."""
    return (
        f"the exception for {exception.rule} expired on {exception.expires:%Y-%m-%d}; its owner is "
        f"{exception.owner}: {exception.reason}"
    )
