"""Probes: requests that the runbooks send themselves, with the answers that are expected.

A validation set is a file of probes in which every request has its expected answer.
"""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from opslib.definitions.source import read_utf8
from opslib.definitions.tolerance import DEFAULT, Tolerance
from opslib.errors import DefinitionError

_FIELDS = {"request", "answer", "tolerance"}


@dataclass(frozen=True)
class Probe:
    """One request and, where it is known, the expected answer and how far an answer may be from it."""

    request: Any
    answer: Any = None
    tolerance: Tolerance = DEFAULT


def read_probes(path: str) -> tuple[Probe, ...]:
    """Read a ``.jsonl`` of probes: a request per line; `answer` and `tolerance` are optional.

    Raises
    ------
    DefinitionError
        If the file does not exist or is empty, or a line is not a probe.
    """
    return tuple(_read_probe(path, number, line) for number, line in _read_lines(path))


def read_validation_set(path: str) -> tuple[tuple[int, Probe], ...]:
    """Read a ``.jsonl`` of probes that all have an expected answer; return each with its line number.

    Raises
    ------
    DefinitionError
        If the file does not exist or is empty, or a line is not a probe or has no answer.
    """
    cases = tuple((number, _read_probe(path, number, line)) for number, line in _read_lines(path))
    open_cases = [str(number) for number, probe in cases if probe.answer is None]
    if open_cases:
        lines = f"line{'' if len(open_cases) == 1 else 's'} {', '.join(open_cases[:5])}"
        raise DefinitionError(
            f"{path}, {lines}: no expected answer ({len(open_cases)} of {len(cases)} requests). A validation set "
            "needs one for each request"
        )
    return cases


def parse_probe(line: str) -> Probe:
    """Read one line of a probes file.

    Raises
    ------
    ValueError
        If it is not JSON, or not a probe.
    """
    probe = json.loads(line)
    if not isinstance(probe, dict) or "request" not in probe or probe.keys() - _FIELDS:
        raise ValueError('expected an object with "request" and, optionally, "answer" and "tolerance"')
    if "tolerance" in probe and probe.get("answer") is None:
        raise ValueError('"tolerance" needs an "answer" to compare with')
    return Probe(probe["request"], probe.get("answer"), _read_tolerance(probe.get("tolerance", {})))


def _read_tolerance(given: Any) -> Tolerance:
    try:
        return Tolerance.model_validate(given)
    except ValidationError as error:
        first = error.errors()[0]
        name = ".".join(str(part) for part in ("tolerance", *first["loc"]))
        raise ValueError(f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}") from error


def split_lines(text: str) -> list[str]:
    """Return the lines of JSON lines: only a line feed ends one, U+2028 may be in a text."""
    return text.split("\n")


def _read_lines(path: str) -> list[tuple[int, str]]:
    """Return the lines that are not blank, each with its number."""
    text = read_utf8(Path(path), "probes")
    lines = [(number, line) for number, line in enumerate(split_lines(text), start=1) if line.strip()]
    if not lines:
        raise DefinitionError(f'{path} has no probes; expected lines like {{"request": ..., "answer": ...}}')
    return lines


def _read_probe(path: str, number: int, line: str) -> Probe:
    try:
        return parse_probe(line)
    except json.JSONDecodeError as error:
        raise DefinitionError(
            f"{path}, line {number}: not JSON at column {error.colno} ({error.msg}); expected a line like "
            '{"request": ..., "answer": ...}'
        ) from error
    except ValueError as error:
        raise DefinitionError(f"{path}, line {number}: {error}") from error
