"""The executed notebook: each save is written whole or not at all, with known secrets masked."""

import json
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.run.files import NOTEBOOK
from opslib.evidence.run.record import write_atomically
from opslib.redaction.redact import redact

SCHEME = "opslib-run://"
"""papermill chooses a writer by the path's prefix."""


_COLOURS = re.compile(r"\x1b\[[0-9;]*m")


class NotebookFile:
    """The reader and writer that papermill uses.

    papermill's own writer truncates the file first: on a full disk it leaves an unreadable notebook of an operation
    that was already done.

    Parameters
    ----------
    path
        The notebook.
    before_write
        Called before each save; reads the secrets that the kernel has registered.
    """

    def __init__(self, path: Path, before_write: Callable[[], None]) -> None:
        self._path = path
        self._before_write = before_write

    def save(self, notebook: Mapping[str, Any]) -> None:
        """Save a notebook while it is executed.

        nbformat's own writer copies, validates and indents the notebook, which took a fifth of a run. papermill
        uses it for the last save. Secrets are masked cell by cell, since most cells are as they were.
        """
        self._before_write()
        cells = ", ".join(redact(json.dumps(cell, ensure_ascii=False)) for cell in notebook["cells"])
        rest = {name: value for name, value in notebook.items() if name != "cells"}
        masked = redact(json.dumps(rest, ensure_ascii=False)).removesuffix("}")
        write_atomically(self._path, f'{masked}, "cells": [{cells}]}}', redacted=False)

    def read(self, path: str) -> str:
        """Read a notebook."""
        return _plain(path).read_text(encoding="utf-8")

    def listdir(self, path: str) -> list[str]:
        """List a folder."""
        return [str(one) for one in _plain(path).iterdir()]

    def write(self, content: str, path: str) -> None:
        """Write a notebook."""
        self._before_write()
        write_atomically(_plain(path), content)

    def pretty_path(self, path: str) -> str:
        """Return a path without the scheme, for messages."""
        return str(_plain(path))


def keep_notebook(source: Path, folder: Path) -> None:
    """Copy the notebook that was executed without a runner into the folder of its run, as a runner would save it.

    Raises
    ------
    RecordError
        If it is no notebook, does not show the run's id in any output, or the run has a notebook already.
    """
    import nbformat  # noqa: PLC0415 - a runner does without

    try:
        notebook = nbformat.reads(source.read_text(encoding="utf-8"), as_version=4)
    except (OSError, ValueError, KeyError, AttributeError) as error:
        raise RecordError(f"{source} cannot be read as a notebook: {error}") from error
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    if folder.name not in json.dumps([cell.outputs for cell in code]):
        raise RecordError(
            f"no output of {source} shows the run {folder.name}: expected the notebook in which it was executed, "
            "saved after its last cell"
        )
    if (folder / NOTEBOOK).exists():
        raise RecordError(f"{folder.name} has a notebook already, from its runner: it is sealed with that one")
    for cell in code:
        cell.outputs = merge_streams(cell.outputs)
        remove_colours(cell.outputs)
    NotebookFile(folder / NOTEBOOK, lambda: None).save(notebook)


def merge_streams(outputs: Sequence[Any]) -> list[Any]:
    """Join consecutive outputs of one stream, so that a secret cannot be split over two of them.

    nbclient's `coalesce_streams` does this too, but its regular expressions take minutes for a line of one
    megabyte.
    """
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and "stream" == last["output_type"] == output["output_type"] and last["name"] == output["name"]:
            last["text"] += output["text"]
        else:
            merged.append(output)
    return merged


def remove_colours(outputs: Iterable[Any]) -> None:
    """Remove a terminal's colour codes from streams and tracebacks, in place: files are plain text."""
    for output in outputs:
        if output["output_type"] == "stream":
            output["text"] = _COLOURS.sub("", output["text"])
        elif output["output_type"] == "error":
            output["traceback"] = [_COLOURS.sub("", line) for line in output["traceback"]]
            output["evalue"] = _COLOURS.sub("", output["evalue"])


def failing_cell(path: Path) -> str:
    """Return number and tag of the first cell that failed; empty if none failed or there is no notebook."""
    try:
        cells = json.loads(path.read_text(encoding="utf-8"))["cells"]
    except (OSError, ValueError, KeyError):
        return ""
    code = [cell for cell in cells if cell["cell_type"] == "code"]
    for number, cell in enumerate(code, start=1):
        failed = cell["metadata"].get("papermill", {}).get("exception")
        if failed or any(output["output_type"] == "error" for output in cell["outputs"]):
            tags = [tag for tag in cell["metadata"].get("tags", []) if not tag.startswith("papermill")]
            return f"code cell {number}{f' ({tags[0]})' if tags else ''}"
    return ""


def _plain(path: str) -> Path:
    return Path(path.removeprefix(SCHEME))
