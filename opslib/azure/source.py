"""What each deployment served, as Azure saw it: the request log where it is kept, else Azure Monitor's metrics."""

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from opslib.azure.connect import Workspace
from opslib.azure.platform_metrics import PlatformMetrics
from opslib.azure.request_log import TRAFFIC_LOG, RequestLog
from opslib.errors import AzureError, ObserveError
from opslib.model import Endpoint, Observation

DIAGNOSTICS_API_VERSION = "2021-05-01-preview"


class Source(Protocol):
    """Somewhere that says what was served."""

    @property
    def name(self) -> str:
        """What the source is called in records."""

    @property
    def grain_s(self) -> float:
        """Length of its intervals [seconds]."""

    @property
    def shortest_bake_s(self) -> float:
        """Shortest time of which it is sure to show something [seconds]."""

    @property
    def least_lag_s(self) -> float:
        """Age below which its numbers may still change, whatever a user says [seconds]."""

    def observe(self, since: datetime, until: datetime, thresholds_ms: Sequence[float] = ()) -> Observation:
        """Say what every deployment of the endpoint served between two times, and how much was slower than that."""

    def quantiles_ms(
        self, deployment: str, since: datetime, until: datetime, quantiles: Sequence[float]
    ) -> tuple[float, ...]:
        """Quantiles of a deployment's latency between two times; empty where they are not known [ms]."""


def find_source(workspace: Workspace, endpoint: Endpoint, wanted: str = "auto", grain_s: float = 5.0) -> Source:
    """Choose the request log where a diagnostic setting keeps it, in the wanted grain, else the metrics.

    Raises
    ------
    ObserveError
        If the request log is `wanted` and no diagnostic setting of the endpoint keeps it.
    """
    kept = wanted != "metrics" and _keeps_request_log(workspace, endpoint)
    if wanted == "request log" and not kept:
        raise ObserveError(
            f"no diagnostic setting of {endpoint.name} keeps {TRAFFIC_LOG}: add one that sends it to a Log "
            'Analytics workspace, or pass source="metrics"'
        )
    return RequestLog(workspace, endpoint.id, grain_s) if kept else PlatformMetrics(workspace, endpoint.id)


def _keeps_request_log(workspace: Workspace, endpoint: Endpoint) -> bool:
    path = f"{endpoint.id}/providers/Microsoft.Insights/diagnosticSettings"
    try:
        settings = workspace.arm.list(path, DIAGNOSTICS_API_VERSION)
    except AzureError as error:
        raise ObserveError(f"the endpoint's diagnostic settings cannot be read: {error}") from error
    return any(
        log.get("enabled") and (log.get("category") == TRAFFIC_LOG or log.get("categoryGroup") == "allLogs")
        for setting in settings
        if setting["properties"].get("workspaceId")
        for log in setting["properties"].get("logs") or []
    )
