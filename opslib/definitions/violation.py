"""A rule that a definition breaks, and how much that matters."""

from collections.abc import Collection
from dataclasses import dataclass
from difflib import get_close_matches
from enum import StrEnum
from typing import Any


class Severity(StrEnum):
    """What a broken rule does to a change."""

    ERROR = "error"
    WARNING = "warning"
    NOTE = "note"


@dataclass(frozen=True)
class Violation:
    """A rule that a definition breaks.

    Attributes
    ----------
    rule
        The rule's name, as reports list it.
    field
        Dotted name of the field.
    line
        Its line in the file, from 1 on.
    seen, expected, fix
        What is there, what should be, and what to do about it.
    """

    rule: str
    field: str
    line: int
    seen: str
    expected: str
    fix: str
    severity: Severity = Severity.ERROR

    def __str__(self) -> str:
        """One sentence, without the file's name."""
        return f"line {self.line}: {self.field} is {self.seen}; expected {self.expected}"


def fix_name(field: Any, known: Collection[str]) -> str:
    """Return how to correct the name of an unknown field.

    >>> fix_name("livenessProbe", {"liveness_probe", "name"}), fix_name("zzz", {"name"})
    ('Did you mean liveness_probe?', 'Remove it.')
    """
    near = get_close_matches(str(field), known, 1)
    return f"Did you mean {near[0]}?" if near else "Remove it."


def quoted(value: Any) -> str:
    """Return a plain value as it is quoted in YAML.

    >>> quoted(3), quoted(True), quoted(None)
    ('"3"', '"true"', '""')
    """
    if value is None:
        return '""'
    return f'"{str(value).lower() if isinstance(value, bool) else value}"'
