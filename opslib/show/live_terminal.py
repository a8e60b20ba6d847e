"""A run's progress in a terminal, redrawn in place."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from typing import Self

from rich.console import Console, Group, RenderableType
from rich.live import Live
from rich.progress_bar import ProgressBar
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

from opslib.runbooks.progress import Event, Progress, follow
from opslib.show.lines import line
from opslib.show.progress import BAR_WIDTH, rows


@contextmanager
def live_display() -> Iterator[Callable[[Event], None]]:
    """Show a run in this process's terminal; yields what takes its events."""
    with LiveDisplay(Console()) as display:
        yield display.follow


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
        for message in self._progress.reported_since(before):
            self._console.print(Text(line(message)))

    def __rich__(self) -> RenderableType:
        table = Table.grid(padding=(0, 2))
        for row in rows(self._progress, datetime.now(UTC)):
            filled = "" if row.filled is None else ProgressBar(1.0, row.filled, width=BAR_WIDTH)
            table.add_row(f"  {row.name}", filled, Text(row.numbers))
        self._spinner.update(text=self._progress.look or "running")
        return Group(table, self._spinner)
