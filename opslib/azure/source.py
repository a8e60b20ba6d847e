"""Where request counts and latencies come from: the request log if it is kept, else Azure Monitor's metrics."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Protocol

from opslib.azure.connect import Workspace
from opslib.azure.diagnostics import read_diagnostics
from opslib.azure.platform_metrics import PlatformMetrics
from opslib.azure.request_log import TRAFFIC_LOG, Exposure, RequestLog
from opslib.errors import AzureError, ObserveError
from opslib.model import Endpoint, Observation


class Source(Protocol):
    """A source of request counts and latencies by deployment."""

    @property
    def name(self) -> str:
        """Name of the source in records."""

    @property
    def grain_s(self) -> float:
        """Length of its intervals [seconds]."""

    @property
    def shortest_bake_s(self) -> float:
        """Shortest bake for which it certainly has data [seconds]."""

    @property
    def least_lag_s(self) -> float:
        """Age below which its numbers may still change; a lower bound of `settle_s` [seconds]."""

    @property
    def per_request(self) -> bool:
        """Whether it has a row for each request, without the run's own probes.

        Otherwise it has a point a minute, own probes included, with percentiles as published.
        """

    def observe(self, since: datetime, until: datetime, thresholds_ms: Sequence[float] = ()) -> Observation:
        """Read what every deployment served between two times, and how many requests exceeded each threshold."""

    def coarser(self, grain_s: float) -> "Source":
        """Return the source with longer intervals where it can cut them so, else the source itself."""

    def quantiles_ms(
        self, deployment: str, since: datetime, until: datetime, quantiles: Sequence[float]
    ) -> tuple[float, ...]:
        """Return quantiles of a deployment's latency between two times; empty where they are unknown [ms]."""

    def answered_by(self, client_request_ids: Iterable[str], since: datetime) -> dict[str, Exposure]:
        """Return which deployment answered each of these requests, where it is known; always empty per minute."""


def find_source(workspace: Workspace, endpoint: Endpoint, wanted: str = "auto", grain_s: float = 5.0) -> Source:
    """Return the request log, in the given grain, if a diagnostic setting keeps it; else the metrics.

    Raises
    ------
    ObserveError
        If `wanted` is the request log and no diagnostic setting of the endpoint keeps it.
    """
    kept = wanted != "metrics" and _keeps_request_log(workspace, endpoint)
    if wanted == "request log" and not kept:
        raise ObserveError(
            f"no diagnostic setting of {endpoint.name} keeps {TRAFFIC_LOG}: add one that sends it to a Log "
            'Analytics workspace, or pass source="metrics"'
        )
    return RequestLog(workspace, endpoint.id, grain_s) if kept else PlatformMetrics(workspace, endpoint.id)


def _keeps_request_log(workspace: Workspace, endpoint: Endpoint) -> bool:
    try:
        settings = read_diagnostics(workspace, endpoint)
    except AzureError as error:
        raise ObserveError(f"the endpoint's diagnostic settings cannot be read: {error}") from error
    return any(setting.log_analytics and setting.keeps(TRAFFIC_LOG) for setting in settings)
