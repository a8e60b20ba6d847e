"""A run's progress in a terminal: in place, or a line for each decision where stdout is a file or a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from opslib.runbooks.progress import Event
from opslib.show.lines import Lines


@contextmanager
def show_progress(*, aside: bool = False) -> Iterator[Callable[[Event], None]]:
    """Show a run while it goes on; yields what takes its events.

    Parameters
    ----------
    aside
        Print lines to stderr, because stdout is for a program.
    """
    if aside or not sys.stdout.isatty():
        yield Lines(sys.stderr if aside else sys.stdout).follow
        return
    from opslib.show.live_terminal import live_display  # noqa: PLC0415 - rich, which a pipe does not need

    with live_display() as follow_live:
        yield follow_live
