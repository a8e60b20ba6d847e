"""The metrics of endpoints and deployments: names, units, dimensions, and how a minute becomes a point.

Source: Microsoft Learn, supported metrics for Microsoft.MachineLearningServices/workspaces/onlineEndpoints and
.../onlineEndpoints/deployments.
"""

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from .kql import percentile

Row = dict[str, Any]
Point = dict[str, float]


@dataclass(frozen=True)
class Metric:
    """One metric: what it is called, and how a minute's rows make a point."""

    name: str
    unit: str
    aggregations: tuple[str, ...]
    dimensions: tuple[str, ...]
    source: str  # table of `telemetry`, or "" when the sandbox cannot measure it
    reduce: Callable[[list[Row]], Point]


def _average(value: Callable[[list[Row]], float]) -> Callable[[list[Row]], Point]:
    return lambda rows: {"average": value(rows)}


def _latency(percent: float | None) -> Callable[[list[Row]], Point]:
    if percent is None:
        return _average(lambda rows: sum(row["total_ms"] for row in rows) / len(rows))
    return _average(lambda rows: float(percentile([row["total_ms"] for row in rows], percent) or 0.0))


def _spread(field: str) -> Callable[[list[Row]], Point]:
    def reduce(rows: list[Row]) -> Point:
        values = [row[field] for row in rows]
        return {"average": sum(values) / len(values), "minimum": min(values), "maximum": max(values)}

    return reduce


_AVERAGE = ("Average",)
_ALL = ("Average", "Minimum", "Maximum")
_PERCENTILES: tuple[tuple[str, float | None], ...] = (("P50", 50), ("P90", 90), ("P95", 95), ("P99", 99))
ENDPOINT_METRICS = (
    Metric(
        "RequestsPerMinute",
        "Count",
        _AVERAGE,
        ("deployment", "statusCode", "statusCodeClass", "modelStatusCode"),
        "requests",
        _average(lambda rows: float(len(rows))),
    ),
    Metric("RequestLatency", "MilliSeconds", _AVERAGE, ("deployment",), "requests", _latency(None)),
    *(
        Metric(f"RequestLatency_{name}", "MilliSeconds", _AVERAGE, ("deployment",), "requests", _latency(percent))
        for name, percent in _PERCENTILES
    ),
    Metric(
        "NetworkBytes",
        "BytesPerSecond",
        _AVERAGE,
        (),
        "requests",
        _average(lambda rows: sum(row["request_bytes"] + row["response_bytes"] for row in rows) / 60),
    ),
    Metric("ConnectionsActive", "Count", _AVERAGE, (), "", _average(lambda _rows: 0.0)),
    Metric("NewConnectionsPerSecond", "CountPerSecond", _AVERAGE, (), "", _average(lambda _rows: 0.0)),
    Metric("DataCollectionErrorsPerMinute", "Count", _ALL, ("deployment", "reason", "type"), "", _spread("")),
    Metric("DataCollectionEventsPerMinute", "Count", _ALL, ("deployment", "type"), "", _spread("")),
)
DEPLOYMENT_METRICS = (
    Metric(
        "RequestsPerMinute",
        "Count",
        _AVERAGE,
        ("envoy_response_code",),
        "requests",
        _average(lambda rows: float(len(rows))),
    ),
    *(
        Metric(f"RequestLatency_{name}", "MilliSeconds", _AVERAGE, (), "requests", _latency(percent))
        for name, percent in _PERCENTILES
    ),
    Metric("CpuUtilizationPercentage", "Percent", _ALL, ("instanceId",), "samples", _spread("cpu_percent")),
    Metric(
        "CpuMemoryUtilizationPercentage", "Percent", _ALL, ("instanceId",), "samples", _spread("memory_percent")
    ),
    Metric("DiskUtilization", "Percent", _ALL, ("instanceId", "disk"), "samples", _spread("disk_percent")),
    Metric("DeploymentCapacity", "Count", _ALL, ("instanceId", "State"), "samples", _spread("capacity")),
    Metric("GpuUtilizationPercentage", "Percent", _ALL, ("instanceId",), "", _spread("")),
    Metric("GpuMemoryUtilizationPercentage", "Percent", _ALL, ("instanceId",), "", _spread("")),
    Metric("GpuEnergyJoules", "Count", _ALL, ("instanceId",), "", _spread("")),
    Metric("DataCollectionErrorsPerMinute", "Count", _ALL, ("instanceId", "reason", "type"), "", _spread("")),
    Metric("DataCollectionEventsPerMinute", "Count", _ALL, ("instanceId", "type"), "", _spread("")),
)
OFFERED = {"onlineEndpoints": ENDPOINT_METRICS, "deployments": DEPLOYMENT_METRICS}
