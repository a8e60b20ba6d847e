"""The parts of autoscale rules and metric alerts: operators, thresholds, times, dimensions. Pure."""

import operator
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.core.clock import parse_duration_s

Dimension = tuple[str, str, str]  # name, eq or ne, value

OPERATORS: dict[str, Callable[[float, float], bool]] = {
    "Equals": operator.eq,
    "NotEquals": operator.ne,
    "GreaterThan": operator.gt,
    "GreaterThanOrEqual": operator.ge,
    "LessThan": operator.lt,
    "LessThanOrEqual": operator.le,
}


def read_word(name: str, value: Any, known: Iterable[str]) -> str:
    """Return a value that is one of the known ones."""
    words = list(known)
    if value not in words:
        raise ArmError.bad_request(f"The {name} must be one of {', '.join(words)}; got {value!r}.")
    return str(value)


def read_threshold(value: Any) -> float:
    """Return a number."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ArmError.bad_request(f"The threshold must be a number, got {value!r}.")
    return float(value)


def read_seconds(name: str, value: Any) -> float:
    """Return an ISO 8601 duration [s]."""
    try:
        return parse_duration_s(str(value))
    except ValueError as error:
        raise ArmError.bad_request(f"The {name} cannot be read: {error}.") from error


def read_dimensions(rows: Any, fields: tuple[str, str, str], signs: Mapping[str, str]) -> tuple[Dimension, ...]:
    """Read rows of name, operator and values, which the two services spell differently."""
    name, sign, values = fields
    if not isinstance(rows or [], list):
        raise ArmError.bad_request("The dimensions must be a list.")
    found: list[Dimension] = []
    for row in rows or []:
        given = row.get(values) if isinstance(row, dict) and isinstance(row.get(name), str) else None
        if not isinstance(given, list) or not given:
            raise ArmError.bad_request(f"A dimension needs {', '.join(fields)}.")
        chosen = signs[read_word(sign, row.get(sign), signs)]
        found += [(row[name], chosen, str(value)) for value in given]
    return tuple(found)
