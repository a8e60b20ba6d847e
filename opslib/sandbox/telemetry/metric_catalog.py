"""The metrics of endpoints and deployments: names, units, dimensions, and how a minute becomes a point.

Source: Microsoft Learn, supported metrics for Microsoft.MachineLearningServices/workspaces/onlineEndpoints and
.../onlineEndpoints/deployments.
"""

from dataclasses import dataclass

AVERAGE = ("Average",)
SPREAD = ("Average", "Minimum", "Maximum")


@dataclass(frozen=True)
class Metric:
    """One metric.

    Attributes
    ----------
    source
        Table of `telemetry` that it is made of; empty when the sandbox cannot measure it, which then has no
        points, as on Azure where nothing was measured.
    value
        SQL over a minute's rows: the average itself, or the column whose average and extremes are offered.
    """

    name: str
    unit: str
    aggregations: tuple[str, ...]
    dimensions: tuple[str, ...] = ()
    source: str = ""
    value: str = ""

    def points(self) -> tuple[str, str, str]:
        """Return SQL of average, minimum and maximum."""
        if self.aggregations == AVERAGE:
            return self.value, "NULL", "NULL"
        return f"avg({self.value})", f"min({self.value})", f"max({self.value})"


# SQL of each dimension's value
DIMENSIONS = {
    "deployment": "deployment",
    "statusCode": "CAST(code AS TEXT)",
    "statusCodeClass": "substr(code, 1, 1) || 'xx'",
    "modelStatusCode": "coalesce(CAST(model_code AS TEXT), '')",
    "envoy_response_code": "CAST(code AS TEXT)",
    "instanceId": "instance",
    "disk": "'/'",
    "State": "'Healthy'",
}
_COUNT, _MEAN = "1.0 * count(*)", "avg(total_ms)"
_BYTES = "sum(request_bytes + response_bytes) / 60.0"
_SPLIT = ("deployment", "statusCode", "statusCodeClass", "modelStatusCode")
_PERCENTS = (50, 90, 95, 99)


def _percentiles(dimensions: tuple[str, ...]) -> tuple[Metric, ...]:
    return tuple(
        Metric(
            f"RequestLatency_P{percent}",
            "MilliSeconds",
            AVERAGE,
            dimensions,
            "requests",
            f"kql_percentile(total_ms, {percent})",
        )
        for percent in _PERCENTS
    )


ENDPOINT_METRICS = (
    Metric("RequestsPerMinute", "Count", AVERAGE, _SPLIT, "requests", _COUNT),
    Metric("RequestLatency", "MilliSeconds", AVERAGE, ("deployment",), "requests", _MEAN),
    *_percentiles(("deployment",)),
    Metric("NetworkBytes", "BytesPerSecond", AVERAGE, (), "requests", _BYTES),
    Metric("ConnectionsActive", "Count", AVERAGE, (), "connections", "avg(active)"),
    Metric("NewConnectionsPerSecond", "CountPerSecond", AVERAGE, (), "connections", "avg(opened_per_s)"),
    Metric("DataCollectionErrorsPerMinute", "Count", SPREAD, ("deployment", "reason", "type")),
    Metric("DataCollectionEventsPerMinute", "Count", SPREAD, ("deployment", "type")),
)
DEPLOYMENT_METRICS = (
    Metric("RequestsPerMinute", "Count", AVERAGE, ("envoy_response_code",), "requests", _COUNT),
    *_percentiles(()),
    Metric("CpuUtilizationPercentage", "Percent", SPREAD, ("instanceId",), "samples", "cpu_percent"),
    Metric("CpuMemoryUtilizationPercentage", "Percent", SPREAD, ("instanceId",), "samples", "memory_percent"),
    Metric("DiskUtilization", "Percent", SPREAD, ("instanceId", "disk"), "samples", "disk_percent"),
    Metric("DeploymentCapacity", "Count", SPREAD, ("instanceId", "State"), "samples", "capacity"),
    Metric("GpuUtilizationPercentage", "Percent", SPREAD, ("instanceId",)),
    Metric("GpuMemoryUtilizationPercentage", "Percent", SPREAD, ("instanceId",)),
    Metric("GpuEnergyJoules", "Count", SPREAD, ("instanceId",)),
    Metric("DataCollectionErrorsPerMinute", "Count", SPREAD, ("instanceId", "reason", "type")),
    Metric("DataCollectionEventsPerMinute", "Count", SPREAD, ("instanceId", "type")),
)
OFFERED = {"onlineEndpoints": ENDPOINT_METRICS, "deployments": DEPLOYMENT_METRICS}
