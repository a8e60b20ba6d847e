"""A notebook's cells: what a run shows below them, and what they raise."""

import sys
from collections.abc import Callable
from contextlib import suppress
from dataclasses import replace
from datetime import datetime
from functools import partial
from typing import Any

from opslib.evidence.run.journal import JournalEvent
from opslib.runbooks.progress import Event, Progress, follow

OnError = Callable[[BaseException], None]


class CellDisplay:
    """Shows a run's progress while a cell works: one display, updated in place; outside a notebook, lines."""

    def __init__(self) -> None:
        self._progress = Progress()
        self._cell = -1
        self._handle: Any = None

    def follow(self, event: Event) -> None:
        """Show what one more event changes. A display that fails is left out: it must not end a run or its undo."""
        with suppress(Exception):
            self._show(event)

    def _show(self, event: Event) -> None:
        shell, reported = find_shell(), event["event"] == JournalEvent.PROGRESS
        if not hasattr(shell, "kernel"):  # a script or a terminal
            if reported:
                print(f"{datetime.fromisoformat(event['at']):%H:%M:%S}  {event['data']}", flush=True)
            return
        here = shell.execution_count == self._cell
        self._progress = follow(self._progress if here else replace(self._progress, messages=(), earlier=0), event)
        if here:
            self._handle.update(self._progress)
        elif reported:
            from IPython.display import display  # noqa: PLC0415 - only there in a kernel

            begin: Any = display
            self._cell = shell.execution_count
            self._handle = begin(self._progress, display_id=True)


def watch_errors(on_error: OnError) -> None:
    """Report what a cell raises from now on: papermill alone would leave the record without an outcome."""
    stop_watching()  # an earlier run of this kernel has no cell any more
    shell = find_shell()
    if shell is not None:
        shell.events.register("post_run_cell", partial(_after_cell, on_error))


def stop_watching() -> None:
    """Report no longer what a cell raises."""
    shell = find_shell()
    for callback in tuple(shell.events.callbacks["post_run_cell"]) if shell is not None else ():
        if isinstance(callback, partial) and callback.func is _after_cell:
            shell.events.unregister("post_run_cell", callback)


def find_shell() -> Any:
    """Return the IPython shell that runs this; None in a script."""
    if "IPython" not in sys.modules:
        return None
    from IPython import get_ipython  # noqa: PLC0415 - only there in a kernel

    return get_ipython()


def _after_cell(on_error: OnError, result: Any) -> None:
    error = result.error_in_exec or result.error_before_exec
    if error is not None:
        on_error(error)
