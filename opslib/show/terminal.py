"""A run's progress in a terminal: in place, or a line for each decision where stdout is a file or a pipe."""

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Self, TextIO

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from opslib.evidence.run.journal import JournalEvent
from opslib.runbooks.progress import Event, Message, Progress, follow
from opslib.show.progress import BAR_WIDTH, rows

CONTINUES_EVERY = timedelta(seconds=60)
"""How often a look that only continues is printed where nothing is redrawn: a log must show that the run lives."""


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
    with LiveDisplay(Console()) as display:
        yield display.follow


class Lines:
    """One line per decision."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._progress = Progress()
        self._printed_at = self._progress.at

    def follow(self, event: Event) -> None:
        """Print what one more event reports."""
        before, self._progress = self._progress, follow(self._progress, event)
        if event["event"] != JournalEvent.PROGRESS:
            return
        message = Message(self._progress.at, event["data"])
        continues = self._progress.messages == before.messages
        if not continues or message.at - self._printed_at >= CONTINUES_EVERY:
            self._printed_at = message.at
            print(_line(message), file=self._stream, flush=True)


class LiveDisplay:
    """The messages as they come, and below them the stage, redrawn in place."""

    def __init__(self, console: Console) -> None:
        self._progress = Progress()
        self._console = console
        self._spinner = Spinner("dots")
        self._live = Live(self, console=console, refresh_per_second=8, transient=True)

    def __enter__(self) -> Self:
        self._live.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._live.stop()

    def follow(self, event: Event) -> None:
        """Print what one more event reports, above what is redrawn."""
        before, self._progress = self._progress, follow(self._progress, event)
        for message in self._progress.messages[len(before.messages) :]:
            self._console.print(Text(_line(message)))

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for row in rows(self._progress, datetime.now(UTC)):
            filled = "" if row.filled is None else ProgressBar(1.0, row.filled, width=BAR_WIDTH)
            table.add_row(f"  {row.name}", filled, Text(row.numbers))
        self._spinner.update(text=self._progress.look or "running")
        return Group(table, self._spinner)


def _line(message: Message) -> str:
    return f"  {message.at:%H:%M:%S}  {message.text}"
