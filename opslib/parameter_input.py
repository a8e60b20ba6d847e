"""What a notebook or a command line gives as parameters: secrets are refused, problems are named."""

import ast
from collections.abc import Mapping
from difflib import get_close_matches
from typing import Any

from pydantic.fields import FieldInfo

from opslib.errors import ParameterError
from opslib.redaction.redact import SECRET_NAME, find_patterns, is_reference, redact

FILLED = "# Parameters"
"""First line of a cell that papermill injected, or that a form filled in. Source: papermill's translators."""


def refuse_secrets(runbook: str, given: Mapping[str, Any]) -> None:
    """Raise if a value is a secret, without showing it: the notebook shows all parameters.

    Raises
    ------
    ParameterError
        Names the parameter, not its value.
    """
    for name, value in given.items():
        if not isinstance(value, str) or not value or is_reference(value):
            continue
        if SECRET_NAME.search(name) or find_patterns(value) or redact(value) != value:
            raise ParameterError(
                f"invalid parameter of {runbook}: {name} contains a secret (not shown here), which the evidence "
                "would show. Pass a reference, env:NAME or keyvault:NAME, and read it with opslib.secret"
            )


def injected_names(history: list[str]) -> set[str]:
    """Return the names assigned, without a type, in a cell that papermill injected or a form filled in."""
    injected = [source for source in history if source.startswith(f"{FILLED}\n")]
    assignments = [node for source in injected for node in ast.parse(source).body if isinstance(node, ast.Assign)]
    return {t.id for node in assignments for t in node.targets if isinstance(t, ast.Name)}


def describe_problem(runbook: str, fields: Mapping[str, FieldInfo], error: Mapping[str, Any]) -> str:
    """Describe one of pydantic's errors about a runbook's parameters."""
    name = ".".join(str(part) for part in error["loc"])
    if not name:  # about several parameters: the message names them
        return str(error["ctx"]["error"])
    if error["type"] == "extra_forbidden":
        hint = "".join(f" (did you mean {near}?)" for near in get_close_matches(name, fields, 1))
        takes = ", ".join(sorted(fields))
        return f"{name}: unknown{hint}; {runbook} takes {takes}; opslib parameters {runbook} explains them"
    if error["type"] == "missing":
        return f"{name}: missing; {fields[name].description}"
    if error["type"] == "value_error":  # one of ours: its message shows the value
        return f"{name}: {error['ctx']['error']}"
    default = fields[str(error["loc"][0])].default
    example = f" such as {default}" if error["type"] == "list_type" and default else ""
    return f"{name}: {error['msg'][0].lower()}{error['msg'][1:]}{example}, got {error['input']!r}"
