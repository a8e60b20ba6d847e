"""Inventory and drift of many endpoints with two deployments each, beside the listing by azure-ai-ml in a loop.

The endpoints are written into the sandbox's store; no process serves them. ``OPSLIB_BENCH_ENDPOINTS`` (default 30)
is their number, 1000 for the figures that are quoted. ``-s`` prints the figures::

    OPSLIB_BENCH_ENDPOINTS=1000 pytest -n 0 -s tests/benchmarks/inventory

On two busy cores, November 2026, 1,000 endpoints: azure-ai-ml 7.9 s and 1,010 requests; Resource Graph 1.9 s and 5
(ratios 1:4 and 1:202), lists in parallel 3.6 s and 1,014, the whole inventory 2.7 s and 29, drift 4.2 s and 5. The
sandbox answers within a millisecond; where a request takes 100 ms, requests decide.
"""

import os
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import pytest
from azure.core.pipeline.policies import SansIOHTTPPolicy
from estate_fixture import fill_store, workspace_id
from sandbox_fixture import running_sandbox

from opslib.azure.connect import Workspace, connect
from opslib.azure.estate import Route, read_estate
from opslib.inventory.formats import as_json
from opslib.model import EstateScope, ResourceName
from opslib.runbooks.drift import find_drift
from opslib.runbooks.inventory import read_inventory
from opslib.sandbox.core.home import Home

ENDPOINTS = int(os.environ.get("OPSLIB_BENCH_ENDPOINTS", "30"))
WORKSPACES = 10

T = TypeVar("T")


@dataclass(frozen=True)
class Measured:
    """What a listing took, and how many deployments it found."""

    seconds: float
    requests: int
    deployments: int


class Counter(SansIOHTTPPolicy[Any, Any]):
    """Counts the requests of azure-ai-ml's clients."""

    def __init__(self) -> None:
        super().__init__()
        self.requests = 0

    def on_request(self, request: Any) -> None:
        del request
        self.requests += 1


@pytest.fixture(scope="module")
def workspace(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Workspace]:
    root = tmp_path_factory.mktemp("many")
    fill_store(Home(root).state, ENDPOINTS, WORKSPACES)
    with running_sandbox(root) as running, pytest.MonkeyPatch.context() as patch, running.pointed():
        patch.setenv("OPSLIB_SANDBOX_HOME", str(root))
        yield connect("sandbox")


def timed(work: Callable[[], T]) -> tuple[float, T]:
    begun = time.perf_counter()
    value = work()
    return time.perf_counter() - begun, value


def by_opslib(workspace: Workspace, route: Route) -> Measured:
    """The listing alone, as azure-ai-ml's: no requests, costs and changes."""
    before = workspace.arm.requests
    seconds, found = timed(lambda: read_estate(workspace.arm, EstateScope(), route=route))
    deployments = sum(len(one.deployments) for one in found.endpoints)
    return Measured(seconds, workspace.arm.requests - before, deployments)


def by_azure_ai_ml(workspace: Workspace) -> Measured:
    """Each workspace's endpoints, and the deployments of each, as the SDK's documentation lists them."""
    from azure.ai.ml import MLClient  # noqa: PLC0415 - takes seconds

    counter = Counter()

    def listed() -> int:
        count = 0
        for number in range(WORKSPACES):
            name = ResourceName.of(workspace_id(number))
            client = MLClient(
                workspace.credential, name.subscription, name.group, name.workspace, per_retry_policies=[counter]
            )
            for endpoint in client.online_endpoints.list():
                count += sum(1 for _ in client.online_deployments.list(endpoint.name))
        return count

    seconds, count = timed(listed)
    return Measured(seconds, counter.requests, count)


def report(name: str, measured: Measured, other: Measured) -> None:
    ours, theirs = (f"{one.seconds:.2f} s, {one.requests:,} requests" for one in (measured, other))
    ratios = f"time 1:{other.seconds / measured.seconds:.1f}, requests 1:{other.requests / measured.requests:.1f}"
    print(f"\n{name}: {ours}; azure-ai-ml in a loop: {theirs}; {ratios}")


def test_an_inventory_beside_the_sdk_in_a_loop(workspace: Workspace, tmp_path: Path):
    """The same deployments, in far fewer requests; a second inventory without a change has no drift."""
    sdk = by_azure_ai_ml(workspace)
    lists, graph = by_opslib(workspace, "lists"), by_opslib(workspace, "graph")
    report("listing by Resource Graph", graph, sdk)
    report("listing by lists in parallel", lists, sdk)
    seconds, inventory = timed(lambda: read_inventory(workspace, EstateScope(), "", lambda _: None))
    whole = Measured(seconds, inventory.requests, inventory.deployments)
    report("inventory with requests, costs, changes", whole, sdk)
    assert {sdk.deployments, lists.deployments, graph.deployments, whole.deployments} == {2 * ENDPOINTS}
    assert graph.requests * 5 < sdk.requests
    assert lists.requests <= sdk.requests + 15  # workspaces, and ten groups' autoscale
    base = tmp_path / "inventory.json"
    base.write_text(as_json(inventory))
    before = workspace.arm.requests
    seconds, found = timed(lambda: find_drift(workspace, base, lambda _: None))
    report("drift", Measured(seconds, workspace.arm.requests - before, len(found.changes)), sdk)
    assert len(found.changes) == 3 * ENDPOINTS
    assert not found.drifted
