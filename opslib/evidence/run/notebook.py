"""The executed notebook on disk: written whole or not at all, and without a known secret, at every save."""

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from opslib.evidence.run.record import write_atomically

SCHEME = "opslib-run://"
"""papermill chooses a writer by the beginning of the path."""


class NotebookFile:
    """papermill's way to the disk.

    papermill's own truncates the file before it writes it: a disk that fills up leaves an unreadable notebook of an
    operation that was already done.

    Parameters
    ----------
    before_write
        Called before each save: takes what the kernel has said to be secret.
    """

    def __init__(self, before_write: Callable[[], None] = lambda: None) -> None:
        self._before_write = before_write

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
        """A path as a person knows it."""
        return str(_plain(path))


def merge_streams(outputs: Sequence[Any]) -> list[Any]:
    """Join what a cell printed piece by piece, so that a secret cannot stand in two pieces of it.

    nbclient's `coalesce_streams` does it too, but its regular expressions take minutes for one line of a megabyte.
    """
    merged: list[Any] = []
    for output in outputs:
        last = merged[-1] if merged else None
        if last and "stream" == last["output_type"] == output["output_type"] and last["name"] == output["name"]:
            last["text"] += output["text"]
        else:
            merged.append(output)
    return merged


def failing_cell(path: Path) -> str:
    """Name the first cell that failed, by its tag and place; empty where none did or there is no notebook."""
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
