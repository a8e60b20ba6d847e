"""All control-plane state, in one SQLite file; a change is committed before its answer is sent.

Write-ahead logging with `synchronous=NORMAL` survives the death of the process at any moment (the
operating system holds the pages), which is the promise here; not a power cut.
"""

import json
import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.records import Blob, InstanceRecord, Operation, Resource
from opslib.sandbox.arm.schema import create_tables
from opslib.sandbox.core import ids
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import KEEP_ACTIVITY, KEEP_OPERATIONS


class Store:
    """The only thing that changes control-plane state. Used from one thread."""

    def __init__(self, path: Path) -> None:
        self._db = sqlite3.connect(path, isolation_level=None)
        self._db.execute("PRAGMA journal_mode=WAL")
        self._db.execute("PRAGMA synchronous=NORMAL")
        create_tables(self._db)
        self._depth = 0
        self.version = 0  # changes with every change of a resource
        self._resources: dict[str, Resource] = {}
        self._children: dict[tuple[str, str], dict[str, Resource]] = {}
        self._kinds: dict[str, dict[str, Resource]] = {}
        self._load()
        self._sequence = max((resource.sequence for resource in self._resources.values()), default=0)

    def close(self) -> None:
        """Close the file."""
        self._db.close()

    @contextmanager
    def transaction(self) -> Iterator[None]:
        """Commit several changes together or none of them."""
        if self._depth == 0:
            self._db.execute("BEGIN IMMEDIATE")
        self._depth += 1
        try:
            yield
        except BaseException:
            self._depth -= 1
            if self._depth == 0:
                self._db.execute("ROLLBACK")
                self._load()
            raise
        self._depth -= 1
        if self._depth == 0:
            self._db.execute("COMMIT")

    def get(self, resource_id: str) -> Resource | None:
        """Return a resource by id, in any case."""
        return self._resources.get(ids.key(resource_id))

    def put(self, resource: Resource) -> Resource:
        """Create or replace a resource."""
        if resource.sequence == 0:
            self._sequence += 1
            resource = replace(resource, sequence=self._sequence)
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO resources (key, id, kind, parent, body, secrets, internal, sequence) "
                "VALUES (?,?,?,?,?,?,?,?)",
                (
                    resource.key,
                    resource.id,
                    resource.kind,
                    ids.key(ids.parent(resource.id)),
                    json.dumps(resource.body),
                    json.dumps(resource.secrets),
                    json.dumps(resource.internal),
                    resource.sequence,
                ),
            )
            self._keep(resource)
            self.version += 1
        return resource

    def delete(self, resource_id: str) -> None:
        """Remove a resource and everything below it."""
        root = ids.key(resource_id)
        gone = [key for key in self._resources if key == root or key.startswith(root + "/")]
        self.version += 1
        with self.transaction():
            for key in gone:
                self._db.execute("DELETE FROM resources WHERE key=?", (key,))
                resource = self._resources.pop(key)
                del self._children[resource.kind, ids.parent(key)][key], self._kinds[resource.kind][key]

    def children(self, parent_id: str, kind: str) -> list[Resource]:
        """Return a resource's children of one kind, in the order of their creation."""
        found = self._children.get((kind, ids.key(parent_id)), {})
        return sorted(found.values(), key=lambda resource: resource.sequence)

    def all(self, kind: str) -> list[Resource]:
        """Return every resource of one kind, in the order of their creation."""
        return sorted(self._kinds.get(kind, {}).values(), key=lambda resource: resource.sequence)

    def put_operation(self, operation: Operation) -> Operation:
        """Record an operation's state; delete the oldest ended ones."""
        error = None if operation.error is None else json.dumps(operation.error)
        with self.transaction():
            self._db.execute(
                "INSERT OR REPLACE INTO operations VALUES (?,?,?,?,?,?,?)",
                (
                    operation.id,
                    operation.kind,
                    operation.resource,
                    operation.status,
                    error,
                    operation.started_us,
                    operation.ended_us,
                ),
            )
            self._db.execute(
                "DELETE FROM operations WHERE ended_us IS NOT NULL AND id NOT IN "
                "(SELECT id FROM operations ORDER BY started_us DESC LIMIT ?)",
                (KEEP_OPERATIONS,),
            )
        return operation

    def get_operation(self, operation_id: str) -> Operation | None:
        """Return an operation by its id."""
        rows = self._db.execute("SELECT * FROM operations WHERE id=?", (operation_id,)).fetchall()
        return _operation(rows[0]) if rows else None

    def unfinished_operations(self) -> list[Operation]:
        """Return the operations that a crash has cut short."""
        rows = self._db.execute("SELECT * FROM operations WHERE ended_us IS NULL ORDER BY started_us")
        return [_operation(row) for row in rows]

    def put_instance(self, record: InstanceRecord) -> None:
        """Record a process before it serves."""
        row = (record.id, record.deployment, record.process.pid, record.process.started_ticks, record.port)
        self._db.execute("INSERT OR REPLACE INTO instances VALUES (?,?,?,?,?)", row)

    def delete_instance(self, instance_id: str) -> None:
        """Forget a process that has ended."""
        self._db.execute("DELETE FROM instances WHERE id=?", (instance_id,))

    def instances(self) -> list[InstanceRecord]:
        """Return every process on record."""
        rows = self._db.execute("SELECT * FROM instances")
        return [InstanceRecord(row[0], row[1], ProcessId(row[2], row[3]), row[4]) for row in rows]

    def append_activity(self, at_us: int, resource_id: str, body: dict[str, Any]) -> None:
        """Append one event of the activity log."""
        cursor = self._db.execute(
            "INSERT INTO activity (at_us, resource, body) VALUES (?,?,?)",
            (at_us, ids.key(resource_id), json.dumps(body)),
        )
        self._db.execute("DELETE FROM activity WHERE sequence <= ?", ((cursor.lastrowid or 0) - KEEP_ACTIVITY,))

    def activity(self, since_us: int, until_us: int) -> list[dict[str, Any]]:
        """Return events, newest first."""
        rows = self._db.execute(
            "SELECT body FROM activity WHERE at_us BETWEEN ? AND ? ORDER BY sequence DESC", (since_us, until_us)
        )
        return [json.loads(body) for (body,) in rows]

    def put_fault(self, number: int, body: dict[str, Any]) -> None:
        """Record a declared fault and its counts."""
        self._db.execute("INSERT OR REPLACE INTO faults VALUES (?,?)", (number, json.dumps(body)))

    def delete_fault(self, number: int) -> None:
        """Forget a fault."""
        self._db.execute("DELETE FROM faults WHERE number=?", (number,))

    def faults(self) -> list[tuple[int, dict[str, Any]]]:
        """Return every fault on record, in the order of their declaration."""
        rows = self._db.execute("SELECT number, body FROM faults ORDER BY number")
        return [(number, json.loads(body)) for number, body in rows]

    def put_blob(self, blob: Blob) -> None:
        """Record a blob whose content has been written."""
        row = (blob.name, blob.size, blob.content_type, blob.md5, json.dumps(blob.metadata), blob.modified_us)
        self._db.execute("INSERT OR REPLACE INTO blobs VALUES (?,?,?,?,?,?)", row)

    def get_blob(self, name: str) -> Blob | None:
        """Return a blob's properties by `container/path`."""
        rows = self._db.execute("SELECT * FROM blobs WHERE name=?", (name,)).fetchall()
        return _blob(rows[0]) if rows else None

    def delete_blob(self, name: str) -> None:
        """Forget a blob."""
        self._db.execute("DELETE FROM blobs WHERE name=?", (name,))

    def blobs(self, prefix: str) -> list[Blob]:
        """Return the blobs whose name starts with a prefix, in the order of their names."""
        rows = self._db.execute(
            "SELECT * FROM blobs WHERE substr(name, 1, ?) = ? ORDER BY name", (len(prefix), prefix)
        )
        return [_blob(row) for row in rows]

    def _keep(self, resource: Resource) -> None:
        self._resources[resource.key] = resource
        self._children.setdefault((resource.kind, ids.parent(resource.key)), {})[resource.key] = resource
        self._kinds.setdefault(resource.kind, {})[resource.key] = resource

    def _load(self) -> None:
        self._resources.clear()
        self._children.clear()
        self._kinds.clear()
        for row in self._db.execute("SELECT id, kind, body, secrets, internal, sequence FROM resources"):
            body, secrets, internal = (json.loads(text) for text in row[2:5])
            self._keep(Resource(row[0], row[1], body, secrets, internal, row[5]))


def _operation(row: tuple[Any, ...]) -> Operation:
    error = None if row[4] is None else json.loads(row[4])
    return Operation(row[0], row[1], row[2], row[3], row[5], error, row[6])


def _blob(row: tuple[Any, ...]) -> Blob:
    return Blob(row[0], row[1], row[2], row[3], json.loads(row[4]), row[5])
