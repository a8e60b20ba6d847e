import json
import sqlite3
from contextlib import closing
from pathlib import Path

from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store

ENDPOINT = "/subscriptions/s/e/onlineEndpoints/e"


def test_internal_values_are_kept_apart_from_secrets(tmp_path: Path):
    """What is stored as internal is read back as internal, with its type."""
    store = Store(tmp_path / "state.db")
    stored = store.put(Resource(ENDPOINT, "onlineEndpoints", {"properties": {}}, {"key": "k"}, {"counts": [1, 2]}))
    store.close()
    again = Store(tmp_path / "state.db")
    assert again.get(ENDPOINT) == stored
    again.close()


def test_a_file_of_an_earlier_version_is_migrated(tmp_path: Path):
    """Internal values that an earlier version kept among the secrets move; the secrets stay."""
    path = tmp_path / "state.db"
    secrets = {
        "primaryKey": "k",
        "operation": "oeidp:1",
        "serving": json.dumps({"sku": 1}),
        "status": "[]",
        "checked_us": "5",
        "acted_us": "7",
        "acting": "op",
        "counts": "1 2",
    }
    with closing(sqlite3.connect(path)) as db:
        db.execute(
            "CREATE TABLE resources (key TEXT PRIMARY KEY, id TEXT NOT NULL, kind TEXT NOT NULL,"
            " parent TEXT NOT NULL, body TEXT NOT NULL, secrets TEXT NOT NULL, sequence INTEGER NOT NULL)"
        )
        row = (ENDPOINT.lower(), ENDPOINT, "onlineEndpoints", "/subscriptions/s/e", "{}", json.dumps(secrets), 3)
        db.execute("INSERT INTO resources VALUES (?,?,?,?,?,?,?)", row)
        db.commit()
    store = Store(path)
    found = store.get(ENDPOINT)
    store.close()
    assert found is not None
    assert found.secrets == {"primaryKey": "k"}
    assert found.sequence == 3
    assert found.internal == {
        "operation": "oeidp:1",
        "serving": {"sku": 1},
        "status": [],
        "checked_us": 5,
        "acted_us": 7,
        "acting": "op",
        "counts": [1, 2],
    }
