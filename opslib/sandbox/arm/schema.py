"""The tables of the store, and the step from the tables of an earlier version."""

import json
import sqlite3
from collections.abc import Callable
from typing import Any

_SCHEMA = """
CREATE TABLE IF NOT EXISTS resources (
  key TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL, parent TEXT NOT NULL,
  body TEXT NOT NULL, secrets TEXT NOT NULL, sequence INTEGER NOT NULL, internal TEXT NOT NULL DEFAULT '{}');
CREATE INDEX IF NOT EXISTS resources_by_parent ON resources (kind, parent);
CREATE TABLE IF NOT EXISTS operations (
  id TEXT PRIMARY KEY, kind TEXT NOT NULL, resource TEXT NOT NULL, status TEXT NOT NULL,
  error TEXT, started_us INTEGER NOT NULL, ended_us INTEGER);
CREATE TABLE IF NOT EXISTS instances (
  id TEXT PRIMARY KEY, deployment TEXT NOT NULL, pid INTEGER NOT NULL, started_ticks INTEGER NOT NULL,
  port INTEGER NOT NULL);
CREATE TABLE IF NOT EXISTS activity (
  sequence INTEGER PRIMARY KEY, at_us INTEGER NOT NULL, resource TEXT NOT NULL, body TEXT NOT NULL);
CREATE INDEX IF NOT EXISTS activity_by_time ON activity (at_us);
CREATE TABLE IF NOT EXISTS faults (number INTEGER PRIMARY KEY, body TEXT NOT NULL);
CREATE TABLE IF NOT EXISTS blobs (
  name TEXT PRIMARY KEY, size INTEGER NOT NULL, content_type TEXT NOT NULL, md5 TEXT NOT NULL,
  metadata TEXT NOT NULL, modified_us INTEGER NOT NULL);
"""

_ONCE_AMONG_SECRETS: dict[str, Callable[[str], Any]] = {
    "operation": str,
    "serving": json.loads,
    "status": json.loads,
    "checked_us": int,
    "acted_us": int,
    "acting": str,
    "counts": lambda text: [int(count) for count in text.split()],
}


def create_tables(db: sqlite3.Connection) -> None:
    """Create the tables that are missing, and migrate those of an earlier version."""
    db.executescript(_SCHEMA)
    _migrate(db)


def _migrate(db: sqlite3.Connection) -> None:
    """Add the column `internal` to a file of an earlier version, which kept its values among the secrets."""
    if "internal" in {row[1] for row in db.execute("PRAGMA table_info(resources)")}:
        return
    db.execute("BEGIN IMMEDIATE")
    db.execute("ALTER TABLE resources ADD COLUMN internal TEXT NOT NULL DEFAULT '{}'")
    for key, text in db.execute("SELECT key, secrets FROM resources").fetchall():
        secrets = json.loads(text)
        internal = {name: read(secrets.pop(name)) for name, read in _ONCE_AMONG_SECRETS.items() if name in secrets}
        row = (json.dumps(secrets), json.dumps(internal), key)
        db.execute("UPDATE resources SET secrets=?, internal=? WHERE key=?", row)
    db.execute("COMMIT")
