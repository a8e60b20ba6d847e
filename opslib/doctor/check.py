"""One thing that `opslib doctor` looked at."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum


class State(StrEnum):
    """Whether runs work with it."""

    OK = "ok"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True)
class Check:
    """What was looked at, what was seen, and how to fix it."""

    name: str
    state: State
    seen: str
    fix: str = ""


def as_text(checks: Iterable[Check]) -> str:
    """Return a line per check, with the fix below those that need one, and the counts at the end."""
    shown = tuple(checks)
    width = max(len(check.name) for check in shown)
    lines = []
    for check in shown:
        lines.append(f"{check.state:<8} {check.name:<{width}}  {check.seen}")
        if check.fix:
            lines.append(f"{'':<8} {'':<{width}}  fix: {check.fix}")
    counts = {state: sum(check.state is state for check in shown) for state in State}
    return "\n".join([*lines, ", ".join(f"{count} {state}" for state, count in counts.items())])
