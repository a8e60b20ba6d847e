"""How busy a deployment's instances were, and how many requests were refused, from Azure Monitor's metrics."""

import math
from collections.abc import Iterable
from datetime import datetime

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import write_time
from opslib.azure.platform_metrics import METRICS_API_VERSION
from opslib.model import Deployment, Endpoint
from opslib.sizing.demand import Utilization

METRICS = ("CpuUtilizationPercentage", "CpuMemoryUtilizationPercentage", "GpuUtilizationPercentage")
BUSY = 0.95
"""Share of the minutes that are less busy than the one that counts: a single minute is not typical [fraction]."""

TOO_MANY = "429"


def read_utilization(
    workspace: Workspace, endpoint: Endpoint, deployment: Deployment, since: datetime, until: datetime
) -> Utilization:
    """Read the use of processors and memory by the minute, and the requests refused with 429."""
    used = _read(workspace, deployment.id, since, until, metricnames=",".join(METRICS))
    cpu, memory, gpu = (_values(used, name) for name in METRICS)
    split = f"deployment eq '{deployment.name}' and statusCode eq '{TOO_MANY}'"
    refused = _read(workspace, endpoint.id, since, until, metricnames="RequestsPerMinute", **{"$filter": split})
    throttled = round(sum(_values(refused, "RequestsPerMinute")))
    return Utilization(_busy(cpu), _busy(memory), _busy(gpu), throttled, len(cpu))


def _read(workspace: Workspace, resource_id: str, since: datetime, until: datetime, **query: str) -> Json:
    window = {
        "aggregation": "Average",
        "interval": "PT1M",
        "timespan": f"{write_time(since)}/{write_time(until)}",
    }
    path = f"{resource_id}/providers/Microsoft.Insights/metrics"
    return workspace.arm.get(path, METRICS_API_VERSION, **window, **query)


def _values(answer: Json, metric: str) -> list[float]:
    """Return a metric's values; a minute without data has none."""
    return [
        float(point["average"])
        for value in answer.get("value") or []
        if value["name"]["value"] == metric
        for series in value.get("timeseries") or []
        for point in series.get("data") or []
        if point.get("average") is not None
    ]


def _busy(values: Iterable[float]) -> float | None:
    """Return the value that 95 % of the minutes do not exceed; None without values."""
    ordered = sorted(values)
    return ordered[math.ceil(BUSY * len(ordered)) - 1] if ordered else None
