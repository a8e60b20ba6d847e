"""Probes: requests that the runbooks send themselves, with the answers that are expected."""

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.errors import DefinitionError


@dataclass(frozen=True)
class Probe:
    """One request and, where it is known, the expected answer."""

    request: Any
    answer: Any = None


def read_probes(path: str) -> tuple[Probe, ...]:
    """Read a ``.jsonl`` of probes: one ``{"request": ..., "answer": ...}`` per line; `answer` is optional.

    Raises
    ------
    DefinitionError
        If the file does not exist or is empty, or a line is not a probe.
    """
    try:
        lines = [line for line in Path(path).read_text().splitlines() if line.strip()]
    except OSError as error:
        raise DefinitionError(f"probes {path!r} cannot be read: {error.strerror}") from error
    if not lines:
        raise DefinitionError(f'{path} has no probes; expected lines like {{"request": ..., "answer": ...}}')
    return tuple(_read_probe(path, number, line) for number, line in enumerate(lines, start=1))


def parse_probe(line: str) -> Probe:
    """Read one line of a probes file.

    Raises
    ------
    ValueError
        If it is not JSON, or not a probe.
    """
    probe = json.loads(line)
    if not isinstance(probe, dict) or "request" not in probe or probe.keys() - {"request", "answer"}:
        raise ValueError('expected an object with "request" and, optionally, "answer"')
    return Probe(probe["request"], probe.get("answer"))


def _read_probe(path: str, number: int, line: str) -> Probe:
    try:
        return parse_probe(line)
    except ValueError as error:
        raise DefinitionError(f"{path}, line {number}: {error}") from error
