"""What was served and logged: the one source of metrics and logs.

Kept apart from the control plane's state: it is written in batches (a crash may lose the last fraction of
a second), read by other threads, and trimmed when it grows too large.
"""

import asyncio
import sqlite3
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from opslib.sandbox.core.settings import KEEP_CONSOLE_LINES, KEEP_EVENTS, KEEP_REQUESTS, KEEP_SAMPLES
from opslib.sandbox.telemetry.kql.query import add_functions

SCHEMA = """
CREATE TABLE IF NOT EXISTS requests (
  sequence INTEGER PRIMARY KEY, at_us INTEGER, endpoint TEXT, deployment TEXT, logged INTEGER, code INTEGER,
  reason TEXT, model_code INTEGER, model_reason TEXT, method TEXT, path TEXT, protocol TEXT,
  request_bytes INTEGER, response_bytes INTEGER, user_agent TEXT, request_id TEXT, client_request_id TEXT,
  total_ms REAL, request_ms REAL, response_ms REAL, auth_type TEXT, identity TEXT,
  request_delay_ms REAL DEFAULT 0, response_delay_ms REAL DEFAULT 0);
CREATE INDEX IF NOT EXISTS requests_by_time ON requests (endpoint, at_us);
CREATE TABLE IF NOT EXISTS console (
  sequence INTEGER PRIMARY KEY, at_us INTEGER, endpoint TEXT, deployment TEXT, instance TEXT,
  container TEXT, message TEXT);
CREATE INDEX IF NOT EXISTS console_by_time ON console (endpoint, at_us);
CREATE TABLE IF NOT EXISTS events (
  sequence INTEGER PRIMARY KEY, at_us INTEGER, endpoint TEXT, deployment TEXT, instance TEXT,
  name TEXT, message TEXT);
CREATE INDEX IF NOT EXISTS events_by_time ON events (endpoint, at_us);
CREATE TABLE IF NOT EXISTS samples (
  sequence INTEGER PRIMARY KEY, at_us INTEGER, deployment TEXT, instance TEXT,
  cpu_percent REAL, memory_percent REAL, disk_percent REAL, capacity INTEGER);
CREATE INDEX IF NOT EXISTS samples_by_time ON samples (deployment, at_us);
CREATE TABLE IF NOT EXISTS connections (
  sequence INTEGER PRIMARY KEY, at_us INTEGER, endpoint TEXT, active INTEGER, opened_per_s REAL);
CREATE INDEX IF NOT EXISTS connections_by_time ON connections (endpoint, at_us);
"""
_KEEP = {
    "requests": KEEP_REQUESTS,
    "console": KEEP_CONSOLE_LINES,
    "events": KEEP_EVENTS,
    "samples": KEEP_SAMPLES,
    "connections": KEEP_SAMPLES,
}
_WIDTH = {"requests": 23, "console": 6, "events": 6, "samples": 7, "connections": 4}
_ADDED = ("request_delay_ms", "response_delay_ms")  # columns of `requests` that an older file lacks
_TRIM_EVERY = 1000


class Telemetry:
    """Rows of requests, console lines, events and samples.

    Parameters
    ----------
    unwritten
        Is set when there is something to flush.
    """

    def __init__(self, path: Path, unwritten: asyncio.Event | None = None) -> None:
        self.path = path
        self._unwritten = unwritten or asyncio.Event()
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        self._db.executescript(SCHEMA)
        there = {row[1] for row in self._db.execute("PRAGMA table_info(requests)")}
        for column in _ADDED:
            if column not in there:
                self._db.execute(f"ALTER TABLE requests ADD COLUMN {column} REAL DEFAULT 0")
        self._rows: dict[str, list[Sequence[Any]]] = {table: [] for table in _WIDTH}
        self._sources: list[Callable[[], None]] = []
        self._readers: list[sqlite3.Connection] = []  # that no query uses
        self._flushes = 0

    def collect_from(self, source: Callable[[], None]) -> None:
        """Have a source of rows add what it holds back before rows are written."""
        self._sources.append(source)

    def add(self, table: str, row: Sequence[Any]) -> None:
        """Take one row, in the order of the table's columns after `sequence`."""
        self._rows[table].append(row)
        self._unwritten.set()

    def flush(self) -> None:
        """Write the rows taken so far; at times delete the oldest."""
        for collect in self._sources:
            collect()
        if any(self._rows.values()):
            self._db.execute("BEGIN IMMEDIATE")
            for table, rows in self._rows.items():
                marks = ",".join("?" * _WIDTH[table])
                self._db.executemany(f"INSERT INTO {table} VALUES (NULL,{marks})", rows)  # noqa: S608
                rows.clear()
            self._db.execute("COMMIT")
        self._flushes += 1
        if self._flushes % _TRIM_EVERY == 0:
            self._trim()

    @contextmanager
    def reader(self) -> Iterator[sqlite3.Connection]:
        """Lend a connection for one query, good for use in another thread; it cannot write.

        It is kept for the next query: opening one takes longer than most queries.
        """
        try:
            connection = self._readers.pop()
        except IndexError:
            connection = self._open_reader()
        try:
            yield connection
        except BaseException:
            connection.close()
            raise
        connection.set_progress_handler(None, 0)
        self._readers.append(connection)

    def _open_reader(self) -> sqlite3.Connection:
        connection = sqlite3.connect(f"file:{self.path}?mode=ro", uri=True, check_same_thread=False)
        connection.execute("PRAGMA query_only=1")
        add_functions(connection)
        return connection

    def read(self, sql: str, arguments: Sequence[Any]) -> list[tuple[Any, ...]]:
        """Run one small query."""
        self.flush()
        with self.reader() as connection:
            return connection.execute(sql, arguments).fetchall()

    def close(self) -> None:
        """Write what is left and close."""
        self.flush()
        while self._readers:
            self._readers.pop().close()
        self._db.close()

    def _trim(self) -> None:
        for table, keep in _KEEP.items():
            self._db.execute(
                f"DELETE FROM {table} WHERE sequence <= (SELECT max(sequence) FROM {table}) - ?",  # noqa: S608
                (keep,),
            )
