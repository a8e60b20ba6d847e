"""Runs that a person makes by hand in JupyterLab have no runner: here is what ends them if their kernel dies.

A kernel that is restarted gets some time from Jupyter, and is then killed, perhaps in the middle of its undo.
The process of `opslib lab` outlives it, and does what a runner's guardian does.
"""

import platform
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from opslib.errors import OpsError
from opslib.evidence.finish import unfinished_runs
from opslib.evidence.run.files import JOURNAL
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.record import Record, read_record
from opslib.evidence.run.run_lock import take_over
from opslib.runner.ending import seal_dead_run, undo_if_interrupted

DIED = "its kernel was restarted, killed or closed"


class HandRunWatch:
    """Watches the runs that are made by hand on this machine from now on."""

    def __init__(self, archive: Path) -> None:
        self._archive = archive
        self._since = datetime.now(UTC).replace(microsecond=0)  # records have milliseconds
        self._left: set[str] = set()

    def end_dead_runs(self) -> Iterator[str]:
        """Undo and seal each run whose kernel died; yield a line for each.

        A run that reached its record is left: it is complete, and `opslib seal` seals it.
        """
        if not self._archive.is_dir():
            return
        for entry, alive in unfinished_runs(self._archive):
            folder = self._archive / entry.folder
            if alive or folder.name in self._left:
                continue
            self._left.add(folder.name)
            try:
                if self._is_ours(read_record(folder)) and not _reached_record(folder):
                    yield self._end(folder)
            except OpsError as error:
                yield f"{folder.name}: could not be ended: {error}. Run: opslib recover"

    def _is_ours(self, record: Record) -> bool:
        """Return whether a run was made by hand here; only a runner records the digest of its notebook."""
        return not record.notebook_sha256 and record.host == platform.node() and record.started_at >= self._since

    def _end(self, folder: Path) -> str:
        take_over(folder)
        record = seal_dead_run(folder, DIED, undo_if_interrupted(folder))
        return f"{record.run_id}: {record.outcome}: {record.reason}"


def _reached_record(folder: Path) -> bool:
    journal = folder / JOURNAL
    events = read_journal(journal) if journal.exists() else iter(())
    return any(event["event"] == JournalEvent.FINISHED for event in events)
