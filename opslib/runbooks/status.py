"""The state of one endpoint now: traffic, states, lease, last runs, error budget, alerts that fire."""

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_endpoint
from opslib.azure.monitoring import read_monitoring
from opslib.azure.source import find_source
from opslib.displayed import Displayed
from opslib.errors import OpsError
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.archive.run_row import RunRow
from opslib.model import Endpoint, FiredAlert, Observation, Unread
from opslib.policy import FILE
from opslib.policy.error_budget import ErrorBudget, error_budget
from opslib.runbooks.lease.tags import Lease, read_lease

if TYPE_CHECKING:
    from opslib.policy.policy import Policy

RUNS = 5
"""Runs that are shown [count]."""

GRAIN_S = 3600.0
"""Grain in which the request log is summed; only the total is shown [seconds]."""


@dataclass(frozen=True)
class EndpointStatus(Displayed):
    """The state of one endpoint.

    Attributes
    ----------
    at
        When it was read [UTC].
    endpoint
        The endpoint and its deployments.
    window
        The time over which requests and the error budget are counted.
    served
        What was served in the window; None where it could not be read.
    budget
        The error budget of the window; None without an objective or without requests' counts.
    max_p95_ms
        The policy's objective of the 95th percentile of latency; None without one [ms].
    alerts
        Alerts that fire.
    lease
        The change that holds the traffic; None where there is none.
    runs
        The last runs on the endpoint in the archive, newest first.
    unread
        What could not be read, and why.
    """

    at: datetime
    endpoint: Endpoint
    window: timedelta
    served: Observation | None
    budget: ErrorBudget | None
    max_p95_ms: float | None
    alerts: tuple[FiredAlert, ...]
    lease: Lease | None
    runs: tuple[RunRow, ...]
    unread: tuple[Unread, ...] = ()

    @property
    def concerns(self) -> tuple[str, ...]:
        """What a person should look at, in words."""
        found = [
            f"{name} is {state}"
            for name, state in (
                (f"endpoint {self.endpoint.name}", self.endpoint.provisioning_state),
                *((f"deployment {one.name}", one.provisioning_state) for one in self.endpoint.deployments),
            )
            if state != "Succeeded"
        ]
        if not any(self.endpoint.traffic.values()):
            found.append("no deployment takes traffic: requests are answered 404")
        found += [f"alert {one.rule} fires on {one.target} (severity {one.severity})" for one in self.alerts]
        if self.budget is not None and self.budget.left is not None and self.budget.left <= 0:
            found.append("the error budget is used up")
        if self.lease is not None and self.lease.expired(self.at):
            found.append(f"the lease of {self.lease.change} has expired: run opslib recover")
        return tuple(found)


def read_status(
    workspace: Workspace, name: str, archive: Path, policy: "Policy | None", window: timedelta
) -> EndpointStatus:
    """Read the state of an endpoint; its parts are read at the same time.

    Raises
    ------
    NotFound
        If there is no such endpoint.
    """
    at = datetime.now(UTC)
    endpoint = read_endpoint(workspace, name)
    with ThreadPoolExecutor(3) as pool:
        monitored = pool.submit(read_monitoring, workspace, endpoint)
        observed = pool.submit(_observe, workspace, endpoint, at, window)
        listed = pool.submit(_runs, archive, endpoint.name)
        monitoring, (served, uncounted), (runs, unlisted) = monitored.result(), observed.result(), listed.result()
    unread = [*uncounted, *unlisted]
    if monitoring.problem:
        unread.append(Unread("alerts", monitoring.problem))
    objectives = policy.objectives if policy else None
    rate = objectives.max_failure_rate if objectives else None
    return EndpointStatus(
        at,
        endpoint,
        window,
        served,
        error_budget(rate, served.total.values()) if rate is not None and served else None,
        objectives.max_p95_ms if objectives else None,
        monitoring.fired,
        read_lease(endpoint.tags),
        runs,
        tuple(unread),
    )


def find_policy(path: Path | None, endpoint: str) -> "Policy | None":
    """Return the given policy, else the endpoint's in this folder or the folder of its name; None without one.

    Raises
    ------
    PolicyError
        If the given policy cannot be read.
    """
    candidates = [path] if path is not None else [Path(endpoint) / FILE, Path(FILE)]
    present = [one for one in candidates if one == path or one.is_file()]
    if not present:
        return None
    from opslib.policy.reading import read_policy  # noqa: PLC0415 - its models take a third of a second to import

    policies = map(read_policy, present)
    return next((one for one in policies if one.endpoint.lower() == endpoint.lower() or path is not None), None)


def _observe(
    workspace: Workspace, endpoint: Endpoint, at: datetime, window: timedelta
) -> tuple[Observation | None, list[Unread]]:
    try:
        return find_source(workspace, endpoint, grain_s=GRAIN_S).observe(at - window, at), []
    except OpsError as error:
        return None, [Unread("requests", str(error))]


def _runs(archive: Path, endpoint: str) -> tuple[tuple[RunRow, ...], list[Unread]]:
    """Read the last runs; an archive that is absent has none."""
    if not archive.is_dir():
        return (), []
    try:
        rows, _ = find_runs(archive, RunQuery(endpoint=endpoint, limit=RUNS))
    except (OpsError, OSError, sqlite3.Error) as error:
        return (), [Unread("runs", str(error))]
    return tuple(rows), []
