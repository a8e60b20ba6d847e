"""Comparison of an answer with the expected one, within tolerances."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

SHOWN = 120
"""Longest part of a value that a difference shows [characters]."""


class Limits(BaseModel):
    """How far a number may be from the expected one: the larger of both limits counts.

    The defaults allow for a float's last digits, which depend on the machine's BLAS. They do not hold for two whole
    numbers, which may be ids or classes: 10000001 is not 10000002 unless a limit was given.
    """

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)

    absolute: float = Field(default=1e-9, ge=0, description="difference [unit of the field]")
    relative: float = Field(default=1e-6, ge=0, description="difference / expected value [fraction]")

    def allow(self, answer: float, expected: float) -> bool:
        """Return whether a number is close enough to the expected one."""
        whole = isinstance(answer, int) and isinstance(expected, int)
        if answer == expected or (whole and not self.model_fields_set & {"absolute", "relative"}):
            return answer == expected
        return abs(answer - expected) <= max(self.absolute, self.relative * abs(expected))


class Tolerance(Limits):
    """How an answer is compared: limits for all numbers, limits by field, and fields that are not compared.

    A field is named by its path with dots; entries of a list have the list's name. A name also covers what is
    inside the field.
    """

    fields: Mapping[str, Limits] = Field(default={}, description="limits by field, such as predictions.score")
    ignore: tuple[str, ...] = Field(default=(), description="fields that are not compared")

    def limits(self, path: str) -> Limits:
        """Return the limits of a field: those of the longest name that covers it."""
        names = [name for name in self.fields if _covers(name, path)]
        return self.fields[max(names, key=len)] if names else self


DEFAULT = Tolerance()


def matches(answer: Any, expected: Any, tolerance: Tolerance = DEFAULT) -> bool:
    """Return whether an answer is the expected one, within its tolerance."""
    return next(differences(answer, expected, tolerance), None) is None


def differences(answer: Any, expected: Any, tolerance: Tolerance = DEFAULT, path: str = "") -> Iterator[str]:
    """Yield each difference between two JSON values: the field, what it is, and what was expected.

    >>> list(differences({"score": 0.42, "label": "a"}, {"score": 0.4, "label": "a"}, Tolerance(absolute=0.01)))
    ['score is 0.42, expected 0.4']
    """
    if path in tolerance.ignore:
        return
    if isinstance(expected, dict) and isinstance(answer, dict):
        for name in sorted(answer.keys() | expected.keys()):
            inner = f"{path}.{name}" if path else name
            if name in answer and name in expected:
                yield from differences(answer[name], expected[name], tolerance, inner)
            elif inner not in tolerance.ignore:
                yield f"{inner} is {_one_sided(name, answer, expected)}"
    elif isinstance(expected, list) and isinstance(answer, list):
        if len(answer) != len(expected):
            yield f"{path or 'the answer'} has {len(answer)} entries, expected {len(expected)}"
        for one, other in zip(answer, expected, strict=False):
            yield from differences(one, other, tolerance, path)
    elif not _same(answer, expected, tolerance.limits(path)):
        yield f"{path or 'the answer'} is {_shown(answer)}, expected {_shown(expected)}"


def _one_sided(name: str, answer: Mapping[str, Any], expected: Mapping[str, Any]) -> str:
    if name in answer:
        return f"{_shown(answer[name])}, which is not expected"
    return f"missing, expected {_shown(expected[name])}"


def _same(answer: Any, expected: Any, limits: Limits) -> bool:
    if isinstance(expected, bool) or isinstance(answer, bool):
        return answer is expected
    if isinstance(expected, int | float) and isinstance(answer, int | float):
        return limits.allow(answer, expected)
    return bool(answer == expected)


def _covers(name: str, path: str) -> bool:
    return path == name or path.startswith(f"{name}.")


def _shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False)[:SHOWN]
