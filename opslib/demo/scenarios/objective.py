"""What a release must hold, what was measured, and whether it was met."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from opslib.show.table import Cell, Table, Tone

NOT_MEASURED = "not measured at this size"

_MET: dict[bool | None, tuple[str, Tone]] = {True: ("yes", "good"), False: ("no", "bad"), None: ("-", "")}


@dataclass(frozen=True)
class Objective:
    """One line of a scenario's table.

    Attributes
    ----------
    name
        What is measured, and where.
    limit
        What it must hold, with its unit.
    measured
        What was measured, with its denominator.
    met
        Whether it holds; None where it needs more traffic than this size sends.
    """

    name: str
    limit: str
    measured: str
    met: bool | None


def at_most(name: str, value: float | None, limit: float, unit: str, basis: str = "") -> Objective:
    """Return an objective with an upper limit; what could not be measured does not meet it."""
    return _compare(name, value, limit, unit, "at most", basis)


def at_least(name: str, value: float | None, limit: float, unit: str, basis: str = "") -> Objective:
    """Return an objective with a lower limit; what could not be measured does not meet it."""
    return _compare(name, value, limit, unit, "at least", basis)


def all_of(name: str, what: str, found: Iterable[bool]) -> Objective:
    """Return an objective that every case must meet; without cases it is not met."""
    cases = list(found)
    count = f"{sum(cases):,} of {len(cases):,} {what}"
    return Objective(name, f"all {what}", count, bool(cases) and all(cases))


def not_measured(name: str, limit: str) -> Objective:
    """Return an objective that this size cannot show."""
    return Objective(name, limit, NOT_MEASURED, None)


def objectives_table(title: str, found: Iterable[Objective]) -> Table:
    """Return the objectives as a table."""
    rows = [(one.name, one.limit, one.measured, Cell(*_MET[one.met])) for one in found]
    return Table(title, ("objective", "limit", "measured", "met"), rows)


def _compare(
    name: str, value: float | None, limit: float, unit: str, relation: Literal["at most", "at least"], basis: str
) -> Objective:
    held = f"{relation} {limit:,.5g} {unit}"
    if value is None:
        return Objective(name, held, "no value", met=False)
    met = value <= limit if relation == "at most" else value >= limit
    return Objective(name, held, f"{value:,.4g} {unit}{basis and f' ({basis})'}", met)
