"""The journal of a run (``journal.jsonl``): one JSON line per event, on disk before the run continues."""

import contextlib
import dataclasses
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from datetime import UTC, datetime
from enum import StrEnum
from pathlib import Path
from time import monotonic
from typing import Any

from opslib.errors import OpsError, RecordError
from opslib.evidence.run.files import JOURNAL
from opslib.redaction.redact import redact


class JournalEvent(StrEnum):
    """Every event that a run writes to its journal, by the name that archives hold."""

    OPENED = "opened"
    STATE = "state"
    PREFLIGHT = "preflight"
    FORECAST = "forecast"
    PLAN = "plan"
    PROGRESS = "progress"
    APPLYING = "applying"
    APPLIED = "applied"
    JUDGING = "judging"
    NEXT_STAGE = "next stage"
    PROBES = "probes"
    VALIDATED = "validated"
    WAITING = "waiting for approval"
    LOOK = "look"
    REVISED = "revised"
    SMALLER_STEP = "smaller step"
    ASKED = "asked"
    ANSWERED = "answered"
    UNANSWERED = "unanswered"
    REHEARSAL = "rehearsal"
    ROLLOUT = "rollout"
    SCALED = "scaled"
    SIZED = "sized"
    AUTOSCALED = "autoscaled"
    ROLLED_BACK = "rolled back"
    RETIRED = "retired"
    UNDOING = "undoing"
    UNDONE = "undone"
    UNDO_FAILED = "undo failed"
    ARRIVED = "arrived"
    INVENTORY = "inventory"
    COMPARED = "compared"
    NOTIFIED = "notified"
    REVIEWED = "reviewed"
    DIAGNOSED = "diagnosed"
    MEMBER_STARTED = "member started"
    MEMBER_ENDED = "member ended"
    PAUSED = "paused"
    STOPPED = "stopped"
    RAISED = "raised"
    FINISHED = "finished"
    UNREADABLE = "unreadable"
    """No run writes it: it is read in place of a line that was damaged, as by a loss of power."""


_UNKNOWN_TIME = "1970-01-01T00:00:00.000+00:00"


class Journal:
    """Appends events to a run's journal; each line is flushed to the disk before `write` returns.

    A line is ``{"seq", "at", "event", "data"}``: a running number, UTC time, what happened, and its value.
    `on_event` is called with each line once it is on disk, as it reads there.
    """

    def __init__(self, folder: Path, on_event: Callable[[Mapping[str, Any]], None] = lambda _: None) -> None:
        self.path = folder / JOURNAL
        self._on_event = on_event
        self._seq = 0
        if self.path.exists():
            _cut_unfinished_line(self.path)
            self._seq = sum(1 for _ in read_journal(self.path))

    def touch(self) -> None:
        """Update the journal's time without an event, to show that the run is alive."""
        self.path.touch()

    def try_write(self, event: JournalEvent, value: Any = None) -> None:
        """Append one event if possible: a full disk must not prevent an undo."""
        with contextlib.suppress(RecordError):
            self.write(event, value)

    @contextlib.contextmanager
    def noted(self, event: JournalEvent) -> Iterator[None]:
        """Append an event with the message of what the block raises, if possible, and let it pass."""
        try:
            yield
        except OpsError as error:
            self.try_write(event, {"message": str(error)})
            raise

    def write(self, event: JournalEvent, value: Any = None) -> None:
        """Append one event.

        Raises
        ------
        RecordError
            If it cannot be written: a change without evidence must not continue.
        """
        line = {
            "seq": self._seq + 1,
            "at": datetime.now(UTC).isoformat(timespec="milliseconds"),
            "event": event,
            "data": as_json(value),
        }
        text = redact(json.dumps(line, ensure_ascii=False, allow_nan=False)) + "\n"
        try:
            _append(self.path, text.encode("utf-8", "backslashreplace"))
        except OSError as error:
            raise RecordError(f"the journal {self.path} cannot be written: {error}") from error
        self._seq += 1
        self._on_event(json.loads(text))


class Heartbeat:
    """The time since a journal was last touched, on a monotonic clock: wall clocks jump."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / JOURNAL
        self._seen = 0
        self._at_s = monotonic()

    def idle_s(self) -> float:
        """Return the time since the journal was last touched; 0 while there is no journal [seconds]."""
        try:
            touched = self._path.stat().st_mtime_ns
        except FileNotFoundError:
            return 0.0
        if touched != self._seen:
            self._seen, self._at_s = touched, monotonic()
        return monotonic() - self._at_s


class JournalTail:
    """Reads a journal that is being written: each line once, from where the last reading ended.

    Parameters
    ----------
    folder
        The run's folder.
    most_bytes
        Most that one reading takes; the rest is left for the next one [bytes].
    """

    def __init__(self, folder: Path, most_bytes: int = 16 << 20) -> None:
        self._path = folder / JOURNAL
        self._most_bytes = most_bytes
        self._read = self._lines = 0

    def read(self) -> Iterator[dict[str, Any]]:
        """Yield the events since the last reading; an unfinished last line is left for the next one."""
        if not self._path.exists():
            return
        end = self._read + self._most_bytes
        with self._path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    return
                self._read += len(line)
                self._lines += 1
                yield _event(line, self._lines)
                if self._read >= end:
                    return


def _append(path: Path, line: bytes) -> None:
    """Append the whole line or none of it; it is on disk when this returns."""
    with path.open("ab", buffering=0) as file:
        size = os.fstat(file.fileno()).st_size
        try:
            if file.write(line) != len(line):
                raise OSError("the disk is full")
            os.fsync(file.fileno())
        except BaseException:  # an interrupt too: the line's number would be used again
            file.truncate(size)
            raise


def _cut_unfinished_line(path: Path) -> None:
    """Remove an unfinished last line, which a crash left, so that the next event starts on a line of its own."""
    content = path.read_bytes()
    whole = content.rfind(b"\n") + 1
    if whole < len(content):
        os.truncate(path, whole)


def read_journal(path: Path) -> Iterator[dict[str, Any]]:
    """Read a journal's events in order; an unfinished last line is skipped, a damaged one is `UNREADABLE`."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.endswith(b"\n"):
                return
            yield _event(line, number)


def _event(line: bytes, number: int) -> dict[str, Any]:
    """Return the event of a line; one that names the line where it cannot be read."""
    with contextlib.suppress(ValueError):
        event = json.loads(line)
        if isinstance(event, dict) and event.keys() >= {"seq", "at", "event", "data"}:
            return event
    return {"seq": number, "at": _UNKNOWN_TIME, "event": JournalEvent.UNREADABLE, "data": {"line": number}}


def as_json(value: Any) -> Any:
    """Turn a value of the model into JSON; its enums are strings already.

    A field whose metadata has ``stored_as`` is written under that name, which archives hold already. ARM's whole
    JSON (`arm`) is left out: the run's before.json and after.json hold it.
    """
    if value is None or isinstance(value, str | int | float | bool):
        return value
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {
            f.metadata.get("stored_as", f.name): as_json(getattr(value, f.name))
            for f in dataclasses.fields(value)
            if f.name != "arm"
        }
    if isinstance(value, datetime):
        return value.astimezone(UTC).isoformat(timespec="milliseconds")
    if isinstance(value, Mapping):
        return {str(key): as_json(one) for key, one in value.items()}
    if isinstance(value, Sequence):
        return [as_json(one) for one in value]
    return str(value)
