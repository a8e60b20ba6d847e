"""A look around a workspace, for a person in a notebook: it reads, changes nothing and leaves no evidence."""

from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import list_endpoints, read_endpoint
from opslib.azure.retail_prices import read_prices
from opslib.cost.estimate import cost_change, endpoint_cost, with_instances
from opslib.displayed import Displayed, view
from opslib.errors import NotFound
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.archive.run_folders import find_archive
from opslib.evidence.archive.run_row import RunRow
from opslib.model import CostChange, Endpoint
from opslib.model.traffic import describe_traffic
from opslib.runbooks.lease.tags import describe, read_lease
from opslib.runbooks.status import EndpointStatus, find_policy, read_status
from opslib.show.status import runs_table
from opslib.show.table import Table

PARALLEL = 8
"""Endpoints that are read at the same time [count]."""


class Endpoints(Displayed, tuple[Endpoint, ...]):
    """The endpoints of a workspace, by name."""

    __slots__ = ()


class Runs(Displayed, tuple[RunRow, ...]):
    """Runs of an archive, newest first."""

    __slots__ = ()


@dataclass(frozen=True)
class Surroundings(Displayed):
    """What a person can look at: a workspace, its endpoints, one of them by name, and the archive of runs.

    Attributes
    ----------
    workspace
        The workspace, as the signed-in identity reads it.
    archive
        Folder of all runs.
    endpoints
        All endpoints, with their deployments.
    endpoint
        Name of the endpoint that is looked at; empty where there is none.
    """

    workspace: Workspace
    archive: Path
    endpoints: Endpoints
    endpoint: str

    def status(self, window_h: float = 24.0) -> EndpointStatus:
        """Read the state of the endpoint: traffic, requests, error budget, alerts, lease, last runs."""
        name = self._require_endpoint()
        policy = find_policy(None, name)
        return read_status(self.workspace, name, self.archive, policy, timedelta(hours=window_h))

    def cost(self, **instances: int) -> CostChange:
        """Read what the endpoint costs at list prices, and what it would with other numbers of instances."""
        endpoint = read_endpoint(self.workspace, self._require_endpoint())
        policy = find_policy(None, endpoint.name)
        currency = policy.cost.currency if policy and policy.cost else "USD"
        types = {deployment.instance_type for deployment in endpoint.deployments}
        prices = read_prices(self.workspace, endpoint, types, currency)
        now = endpoint_cost(endpoint, prices)
        return cost_change(now, with_instances(now, instances), prices)

    def runs(self, limit: int = 10) -> Runs:
        """Read the last runs of all endpoints."""
        if not self.archive.is_dir():
            return Runs()
        return Runs(find_runs(self.archive, RunQuery(limit=limit))[0])

    def _require_endpoint(self) -> str:
        if not self.endpoint:
            raise NotFound(
                f"the workspace {self.workspace.scope.workspace_name} has no endpoint. Deploy one; on the sandbox: "
                "opslib demo --practice harborshield"
            )
        return self.endpoint


def explore(target: str = "sandbox", endpoint: str = "") -> Surroundings:
    """Connect, and read the endpoints of a workspace.

    Parameters
    ----------
    target
        As for `connect`.
    endpoint
        The endpoint to look at; by default the first one by name.

    Raises
    ------
    ConnectError
        If the workspace is not found or not reachable.
    NotFound
        If the workspace has no endpoint of that name.
    """
    workspace = connect(target)
    names = sorted(str(arm["name"]) for arm in list_endpoints(workspace))
    if endpoint and endpoint not in names:
        raise NotFound(f"there is no endpoint {endpoint!r}; the workspace has: {', '.join(names) or 'none'}")
    with ThreadPoolExecutor(PARALLEL) as pool:
        endpoints = Endpoints(pool.map(partial(read_endpoint, workspace), names))
    return Surroundings(workspace, find_archive(), endpoints, endpoint or next(iter(names), ""))


@view.register
def _surroundings(seen: Surroundings) -> Table:
    scope = seen.workspace.scope
    rows = [
        ("workspace", f"{scope.workspace_name} in {scope.resource_group}, subscription {scope.subscription_id}"),
        ("Azure Resource Manager", scope.resource_manager),
        ("principal", scope.principal),
        ("endpoints", f"{len(seen.endpoints)}"),
        ("looked at", seen.endpoint or "none: the workspace has no endpoint"),
        ("archive of runs", str(seen.archive)),
    ]
    return Table("Look around", ("what", "value"), rows)


@view.register
def _endpoints(endpoints: Endpoints) -> Table:
    rows = [
        (
            one.name,
            one.provisioning_state,
            describe_traffic(one.traffic),
            ", ".join(f"{d.name}: {d.instance_count} x {d.instance_type}" for d in one.deployments) or "none",
            describe(lease) if (lease := read_lease(one.tags)) else "none",
        )
        for one in endpoints
    ]
    columns = ("endpoint", "state", "traffic [%]", "deployments", "lease")
    return Table("Endpoints", columns, rows, note="" if rows else "The workspace has none.")


@view.register
def _runs(runs: Runs) -> Table:
    return runs_table(runs, empty="The archive has no runs.")
