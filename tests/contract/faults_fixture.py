"""Faults of the sandbox, declared as `opslib sandbox fault` does."""

from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from sandbox_fixture import RunningSandbox


class Faults:
    """The sandbox's own API, as `opslib sandbox fault` uses it."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def declare(self, kind: str, **fields: Any) -> str:
        answer = self._client.post("/sandbox/faults", json={"kind": kind, **fields}).raise_for_status()
        return str(answer.json()["value"][0]["name"])

    def clear(self, name: str = "") -> None:
        self._client.delete(f"/sandbox/faults/{name}".rstrip("/")).raise_for_status()

    def find(self, name: str) -> dict[str, Any]:
        rows = self._client.get("/sandbox/faults").raise_for_status().json()["value"]
        return next(row for row in reversed(rows) if row["name"] == name)


@pytest.fixture
def faults(sandbox: RunningSandbox) -> Iterator[Faults]:
    """Whatever was declared ends with the test."""
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as client:
        yield Faults(client)
        client.delete("/sandbox/faults").raise_for_status()
