"""What the store keeps: resources, long-running operations, instance processes, blobs."""

from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any

from opslib.sandbox.core import ids
from opslib.sandbox.core.process import ProcessId


@dataclass(frozen=True)
class Resource:
    """One ARM resource; its dictionaries are never changed in place, `replace` makes the next value.

    Attributes
    ----------
    body
        What ARM shows, as last written.
    secrets
        Keys and client secrets, by name.
    internal
        What the sandbox itself remembers of the resource, such as its last operation.
    sequence
        Order of creation; 0 until it is stored.
    """

    id: str
    kind: str
    body: dict[str, Any]
    secrets: dict[str, str] = field(default_factory=dict)
    internal: dict[str, Any] = field(default_factory=dict)
    sequence: int = 0

    @cached_property
    def key(self) -> str:
        """Return the id as it is compared."""
        return ids.key(self.id)

    @cached_property
    def name(self) -> str:
        """Return the last segment of the id."""
        return ids.name(self.id)

    @property
    def properties(self) -> dict[str, Any]:
        """Return the body's `properties`."""
        value: dict[str, Any] = self.body["properties"]
        return value

    @property
    def state(self) -> str:
        """Return the provisioningState."""
        return str(self.properties.get("provisioningState", "Succeeded"))

    def with_properties(self, **changes: Any) -> "Resource":
        """Return the resource with some properties replaced."""
        return replace(self, body={**self.body, "properties": {**self.properties, **changes}})


@dataclass(frozen=True)
class Operation:
    """One long-running operation."""

    id: str
    kind: str
    resource: str
    status: str
    started_us: int
    error: dict[str, Any] | None = None
    ended_us: int | None = None


@dataclass(frozen=True)
class InstanceRecord:
    """An instance process, as needed to find and end it after a crash."""

    id: str
    deployment: str
    process: ProcessId
    port: int


@dataclass(frozen=True)
class Blob:
    """A stored blob's properties; its content is in a file named by the digest of its name."""

    name: str
    size: int
    content_type: str
    md5: str
    metadata: dict[str, str]
    modified_us: int
