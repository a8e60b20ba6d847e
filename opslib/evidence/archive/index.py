"""An index of the runs in an archive (``.index.sqlite``), built from their records. It is a cache, not evidence.

An update reads only the runs that were added to the ledger since the last one. The index is rebuilt if it is
damaged, of another version, or of another ledger.
"""

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.archive.run_row import COLUMNS, RunRow, as_utc, read_row, values_of
from opslib.evidence.run.files import INDEX, LEDGER
from opslib.processes import map_over_cores

VERSION = 2


@dataclass(frozen=True)
class RunQuery:
    """Conditions on runs; an empty field is no condition. `who` and `model` match a part; times are inclusive."""

    endpoint: str = ""
    runbook: str = ""
    outcome: str = ""
    since: datetime | None = None
    until: datetime | None = None
    who: str = ""
    model: str = ""
    limit: int = 0


_SCHEMA = f"""
CREATE TABLE runs ({COLUMNS[0]} TEXT PRIMARY KEY, {", ".join(COLUMNS[1:])}) WITHOUT ROWID;
CREATE TABLE place (read_bytes INTEGER, head TEXT);
INSERT INTO place VALUES (0, '{ledger.GENESIS}');
PRAGMA user_version = {VERSION};
"""  # noqa: S608 - columns are ours

_INDEXES = (
    "by_endpoint ON runs (endpoint COLLATE NOCASE, started_at)",
    "by_both ON runs (endpoint COLLATE NOCASE, outcome, started_at)",
    "by_outcome ON runs (outcome, started_at)",
    "by_time ON runs (started_at)",
)
"""Made after the first rows: to sort all of them once costs less than to place each."""


def find_runs(archive: Path, query: RunQuery | None = None) -> tuple[list[RunRow], int]:
    """Return the matching runs, newest first, and their number without the limit."""
    query = query or RunQuery()
    with _opened(archive) as connection:
        where, values = _conditions(query)
        (total,) = connection.execute(f"SELECT count(*) FROM runs {where}", values).fetchone()  # noqa: S608
        text = f"SELECT {', '.join(COLUMNS)} FROM runs {where} ORDER BY started_at DESC, run DESC"  # noqa: S608 - columns are ours
        rows = connection.execute(f"{text} LIMIT ?", [*values, query.limit or -1]).fetchall()
    return [_row(row) for row in rows], total


def rebuild(archive: Path) -> None:
    """Delete the index; the next query rebuilds it."""
    (archive / INDEX).unlink(missing_ok=True)


@contextmanager
def _opened(archive: Path) -> Iterator[sqlite3.Connection]:
    """Open the index and update it; use one in memory if the archive is read-only."""
    try:
        connection = _connect(archive / INDEX)
        _update(connection, archive)
    except sqlite3.DatabaseError:
        try:
            rebuild(archive)
            connection = _connect(archive / INDEX)
        except (sqlite3.DatabaseError, OSError):
            connection = _connect(":memory:")
        _update(connection, archive)
    with closing(connection):
        yield connection


def _connect(path: Path | str) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=30.0)
    (version,) = connection.execute("PRAGMA user_version").fetchone()
    if version == 0:
        connection.executescript(_SCHEMA)
    elif version != VERSION:
        raise sqlite3.DatabaseError(f"version {version}, expected {VERSION}")
    return connection


def _update(connection: sqlite3.Connection, archive: Path) -> None:
    """Add the runs that are new in the ledger, and update those that had not ended."""
    read_bytes, head = connection.execute("SELECT read_bytes, head FROM place").fetchone()
    place, lines, added = _read_on(archive, read_bytes, head)
    running = connection.execute("SELECT run, folder FROM runs WHERE outcome = ''").fetchall()
    wanted = dict(running) | added
    if not wanted and not lines:
        return

    def read(runs: Sequence[tuple[str, str]]) -> list[tuple[Any, ...]]:
        return [values_of(_read(archive, run, folder)) for run, folder in runs]

    rows = map_over_cores(read, list(wanted.items()))
    marks = ", ".join("?" * len(COLUMNS))
    with connection:
        connection.executemany(f"INSERT OR REPLACE INTO runs VALUES ({marks})", rows)  # noqa: S608
        for index in _INDEXES:
            connection.execute(f"CREATE INDEX IF NOT EXISTS {index}")
        connection.execute("UPDATE place SET read_bytes = ?, head = ?", place)


def _read_on(archive: Path, read_bytes: int, head: str) -> tuple[tuple[int, str], int, dict[str, str]]:
    """Read the ledger from an offset; the first line must follow from the line that was read last."""
    added: dict[str, str] = {}
    path, count = archive / LEDGER, 0
    if not path.exists():
        if read_bytes:
            raise sqlite3.DatabaseError("the index belongs to another ledger")
        return (0, ledger.GENESIS), 0, added
    with path.open("rb") as file:
        if read_bytes and ledger.digest(ledger.line_before(file, read_bytes)) != head:
            raise sqlite3.DatabaseError("the index belongs to another ledger")
        file.seek(read_bytes)
        for line in file:
            if not line.endswith(b"\n"):
                break
            entry = ledger.read_entry(line, 0)
            if not count and entry.prev != head:
                raise sqlite3.DatabaseError("the index belongs to another ledger")
            if entry.folder:
                added[entry.run] = entry.folder
            count += 1
            read_bytes, last = read_bytes + len(line), line
    if not count:
        return (read_bytes, head), 0, added
    return (read_bytes, ledger.digest(last)), count, added


def _read(archive: Path, run: str, folder: str) -> RunRow:
    """Return the row of a run; a run whose record is damaged or missing is listed with the error as its reason."""
    try:
        return read_row(archive, folder)
    except RecordError as error:
        return RunRow(run, folder, reason=str(error))


def _conditions(query: RunQuery) -> tuple[str, list[Any]]:
    conditions: list[tuple[str, Any]] = [
        ("endpoint = ? COLLATE NOCASE", query.endpoint),
        ("runbook = ?", query.runbook),
        ("outcome = ?", "" if query.outcome == "unfinished" else query.outcome or None),
        ("started_at >= ?", as_utc(query.since) if query.since else ""),
        ("started_at <= ?", as_utc(query.until) if query.until else ""),
        ("instr(lower(who), lower(?))", query.who),
        ("instr(lower(models), lower(?))", query.model),
    ]
    wanted = [(text, v) for text, v in conditions if v or (text.startswith("outcome") and v is not None)]
    where = f"WHERE {' AND '.join(text for text, _ in wanted)}" if wanted else ""
    return where, [value for _, value in wanted]


def _row(values: tuple[Any, ...]) -> RunRow:
    """Return a row as it was written: SQLite keeps a truth value as a number."""
    fields = dict(zip(COLUMNS, values, strict=True))
    return RunRow(**fields | {"quarantined": bool(fields["quarantined"])})
