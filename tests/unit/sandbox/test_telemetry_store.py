"""How telemetry is written and read."""

import asyncio
import sqlite3
from pathlib import Path

import pytest

from opslib.sandbox.telemetry.telemetry import Telemetry


def test_a_connection_serves_the_next_query_unless_one_failed_on_it(tmp_path: Path):
    """Two queries at once have two connections; each sees what was written since, and none can write."""
    telemetry = Telemetry(tmp_path / "telemetry.db")
    with telemetry.reader() as first:
        pass
    telemetry.add("connections", (1, "fraud", 2, 3.0))
    with telemetry.reader() as again, telemetry.reader() as other:
        assert again is first is not other
        telemetry.flush()
        assert again.execute("SELECT active FROM connections").fetchall() == [(2,)]
    with pytest.raises(sqlite3.OperationalError), telemetry.reader() as failed:
        failed.execute("DELETE FROM connections")
    with telemetry.reader() as last:
        assert last is not failed
    telemetry.close()


def test_what_waits_to_be_written_is_announced(tmp_path: Path):
    """An idle sandbox does not look for it."""
    unwritten = asyncio.Event()
    telemetry = Telemetry(tmp_path / "telemetry.db", unwritten)
    assert not unwritten.is_set()
    telemetry.add("connections", (1, "fraud", 2, 3.0))
    assert unwritten.is_set()
    telemetry.close()
