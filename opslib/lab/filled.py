"""A runbook's notebook with its parameters cell filled in, and the command that runs the same."""

import json
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import nbformat

from opslib.errors import ParameterError
from opslib.lab.draft import as_text, runbook_class
from opslib.parameter_input import FILLED
from opslib.runner.notebooks import find_notebook


def parameters_cell(runbook: str) -> str:
    """Return the parameters cell of a runbook's notebook."""
    return str(_find_cell(nbformat.read(find_notebook(runbook), as_version=4)).source)


def main_names(runbook: str) -> tuple[str, ...]:
    """Return the parameters that the notebook's cell has, in its order: those that most runs set."""
    fields = runbook_class(runbook).model_fields
    lines = parameters_cell(runbook).splitlines()
    return tuple(name for line in lines if (name := line.partition(":")[0]) in fields)


def fill_cell(runbook: str, source: str, given: Mapping[str, Any]) -> str:
    """Return a parameters cell with the given values, each with the comment that describes it.

    A given value is written without its type, by which `bind` distinguishes it from a default: a given value that
    equals the default is not replaced by the policy's.
    """
    fields, left = runbook_class(runbook).model_fields, dict(given)
    lines = []
    for line in source.splitlines():
        name = line.partition(":")[0].partition("=")[0].strip()
        if name in left:
            line = _assign(name, left.pop(name), fields[name].description)  # noqa: PLW2901 - the same line, filled
        lines.append(line)
    lines += [_assign(name, value, fields[name].description) for name, value in left.items()]
    first = [] if lines[:1] == [FILLED] else [FILLED]
    return "\n".join([*first, *lines])


def write_filled(runbook: str, given: Mapping[str, Any], path: Path) -> Path:
    """Write a new notebook: the runbook's, with the parameters cell filled in.

    Raises
    ------
    ParameterError
        If the file exists, or cannot be written. An existing file is never changed.
    """
    if path.suffix != ".ipynb":
        raise ParameterError(f"{path} is not the name of a notebook: expected one that ends in .ipynb")
    notebook = nbformat.read(find_notebook(runbook), as_version=4)
    cell = _find_cell(notebook)
    cell.source = fill_cell(runbook, cell.source, given)
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with path.open("x", encoding="utf-8") as file:
            nbformat.write(notebook, file)
    except FileExistsError:
        raise ParameterError(f"nothing written: {path} exists. Name another file") from None
    except OSError as error:
        raise ParameterError(f"{path} cannot be written: {error}") from error
    return path


def run_command(runbook: str, given: Mapping[str, Any]) -> str:
    """Return the command that runs a runbook with these parameters."""
    options = [f"-p {shlex.quote(f'{name}={as_text(value)}')}" for name, value in given.items()]
    return " ".join([f"opslib run {runbook}", *options])


def _find_cell(notebook: Any) -> Any:
    return next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))


def _assign(name: str, value: Any, description: str | None) -> str:
    return f"{name} = {_literal(value)}  # {description}"


def _literal(value: Any) -> str:
    """Write a value as Python, with the quotes that the runbooks' cells have."""
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False)
    if isinstance(value, list):
        return f"[{', '.join(map(_literal, value))}]"
    if isinstance(value, dict):
        return f"{{{', '.join(f'{_literal(key)}: {_literal(one)}' for key, one in value.items())}}}"
    return repr(value)
