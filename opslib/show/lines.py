"""A run's progress as lines, for a log or a pipe."""

from datetime import timedelta
from typing import TextIO

from opslib.evidence.run.journal import JournalEvent
from opslib.runbooks.progress import Event, Message, Progress, follow

CONTINUES_EVERY = timedelta(seconds=60)
"""How often a look that only continues is printed where nothing is redrawn: a log must show that the run lives."""


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
            print(line(message), file=self._stream, flush=True)


def line(message: Message) -> str:
    """Return a message as one line, with its time."""
    return f"  {message.at:%H:%M:%S}  {message.text}"
