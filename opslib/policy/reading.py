"""Read and validate a policy file, with the line of each problem."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any, TypeVar

from pydantic import ValidationError

from opslib.definitions.source import Source, read_source
from opslib.errors import DefinitionError, PolicyError
from opslib.policy.policy import Policy
from opslib.policy.section import Section

S = TypeVar("S", bound=Section)


def read_policy(path: Path) -> Policy:
    """Read and validate a policy file.

    Raises
    ------
    PolicyError
        Names file, line, field, what was expected and what is there, for every problem at once.
    """
    return read_section(Policy, path, "policy")


def read_section(kind: type[S], path: Path, what: str) -> S:
    """Read and validate a file whose content is a section.

    Raises
    ------
    PolicyError
        As `read_policy`.
    """
    try:
        source = read_source(path, what=what)
    except DefinitionError as error:
        raise PolicyError(str(error)) from error
    section, problems = _validate(kind, source)
    if section is None:
        raise PolicyError("\n".join(f"{path}:{line}: {field}: {message}" for line, field, message in problems))
    return section


def validate_policy(source: Source) -> tuple[Policy | None, list[tuple[int, str, str]]]:
    """Return the policy, or None with line, field and message of everything that is wrong with its content."""
    return _validate(Policy, source)


def _validate(kind: type[S], source: Source) -> tuple[S | None, list[tuple[int, str, str]]]:
    try:
        return kind.model_validate(dict(source.content)), []
    except ValidationError as error:
        return None, [_problem(source, item) for item in error.errors()]


def _problem(source: Source, error: Any) -> tuple[int, str, str]:
    parts: list[str] = []
    entry = error.get("ctx", {}).get("entry")
    for part in (*error["loc"], *(() if entry is None else (entry,))):
        if isinstance(part, int) and parts:
            parts[-1] += f"[{part}]"
        else:
            parts.append(str(part))
    field = ".".join(parts)
    if error["type"] == "extra_forbidden":
        return source.line(field), field, "unknown field"
    if error["type"] == "missing":
        return source.line(field), field, "missing"
    if error["type"] in {"string_too_short", "too_short"} and not error["input"]:
        return source.line(field), field, "empty: fill it in"
    message = str(error["msg"]).removeprefix("Value error, ")
    shown = "" if isinstance(error["input"], Mapping) else f", got {error['input']!r}"
    return source.line(field), field or source.path.stem, f"{message[0].lower()}{message[1:]}{shown}"
