"""Azure Monitor's platform metrics of one endpoint: one point per minute, several minutes late.

Percentiles are published per minute; over a longer time they can only be averaged.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import read_time, whole_minute, write_time
from opslib.azure.request_log import Exposure
from opslib.errors import AzureError, ObserveError
from opslib.model import Observation, Served, ServedInterval, is_failure

METRICS_API_VERSION = "2023-10-01"

PERCENTILES = (50, 90, 95, 99)
"""Percentiles of RequestLatency that Azure Monitor publishes."""

MOST_SERIES = 1000
"""Series that are requested of a metric with dimensions: more than 20 deployments have with every status code of
a gateway. Azure returns 10 by default, without a sign that there are more. Source: Microsoft Learn, REST reference
of Azure Monitor, Metrics - List, `top` [count]."""

UNSETTLED = timedelta(minutes=5)
"""Age below which a zero may mean "not ingested yet": Azure Monitor reports 0 until a minute is ingested."""


@dataclass(frozen=True)
class PlatformMetrics:
    """Azure Monitor's platform metrics of one endpoint; the source called "metrics"."""

    workspace: Workspace
    endpoint_id: str
    name: str = "metrics"
    per_request: bool = False
    grain_s: float = 60.0
    shortest_bake_s: float = 120.0
    least_lag_s: float = 240.0

    def observe(self, since: datetime, until: datetime, thresholds_ms: Sequence[float] = ()) -> Observation:
        """Read the whole minutes between two times; requests above a threshold are not counted by metrics.

        Requests are sums of RequestsPerMinute (Average, PT1M). Percentiles of the total are means of the minutes'
        percentiles, weighted by requests: an approximation, since percentiles cannot be added.
        """
        del thresholds_ms
        first, last = whole_minute(since, up=True), whole_minute(until, up=False)
        shown_until = max(last, whole_minute(datetime.now(UTC), up=False))
        counts = self.read("RequestsPerMinute", ("deployment", "statusCode"), first, shown_until)
        requests: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        failures: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (deployment, code), points in counts.items():
            for minute, value in points.items():
                count = whole_count(value)
                requests[minute][deployment] += count
                failures[minute][deployment] += count if count and is_failure(_status(code)) else 0
        quantiles = {q: self.read(f"RequestLatency_P{q}", ("deployment",), first, last) for q in PERCENTILES}
        intervals = tuple(
            ServedInterval(minute, 60.0, _minute(minute, requests[minute], failures[minute], quantiles))
            for minute in sorted(requests)
            if minute < last
        )
        return Observation(self.name, first, last, _settled(requests), _sum(i.served for i in intervals), intervals)

    def coarser(self, grain_s: float) -> "PlatformMetrics":
        """Return the metrics themselves: percentiles of minutes cannot be joined."""
        del grain_s
        return self

    def quantiles_ms(
        self, deployment: str, since: datetime, until: datetime, quantiles: Sequence[float]
    ) -> tuple[float, ...]:
        """Return nothing: the judge uses the published percentiles of stable's first minutes."""
        del deployment, since, until, quantiles
        return ()

    def answered_by(self, client_request_ids: Iterable[str], since: datetime) -> dict[str, Exposure]:
        """Return nothing: metrics have no single requests."""
        del client_request_ids, since
        return {}

    def read(
        self, metric: str, dimensions: tuple[str, ...], since: datetime, until: datetime
    ) -> dict[tuple[str, ...], dict[datetime, float]]:
        """Read a metric by minute and dimension; a minute without data is left out, not zero."""
        if since >= until:
            return {}
        query = {
            "metricnames": metric,
            "interval": "PT1M",
            "aggregation": "Average",
            "timespan": f"{write_time(since)}/{write_time(until)}",
        }
        if dimensions:
            query["$filter"] = " and ".join(f"{dimension} eq '*'" for dimension in dimensions)
            query["top"] = str(MOST_SERIES)
        try:
            path = f"{self.endpoint_id}/providers/Microsoft.Insights/metrics"
            response = self.workspace.arm.get(path, METRICS_API_VERSION, **query)
        except AzureError as error:
            raise ObserveError(f"the metrics cannot be read: {error}") from error
        try:
            series = [one for value in response["value"][:1] for one in value.get("timeseries") or []]
            found = {_dimensions(one, dimensions): _points(one) for one in series}
        except (AttributeError, KeyError, TypeError, ValueError) as error:
            raise ObserveError(
                f"the metric {metric} is not understood: expected a list `value` of series, got "
                f"{str(response)[:200]} ({type(error).__name__}: {error}). Without it nothing can be judged"
            ) from error
        if len(series) >= MOST_SERIES:
            raise ObserveError(f"the metric {metric} has {len(series)} series or more: some may be missing")
        return found


def _dimensions(series: Mapping[str, Any], names: tuple[str, ...]) -> tuple[str, ...]:
    """Return a series' dimensions in the order of their names; Azure writes the names in lower case."""
    values = {one["name"]["value"].lower(): str(one["value"]) for one in series.get("metadatavalues") or []}
    return tuple(values.get(name.lower(), "") for name in names)


def _points(series: Mapping[str, Any]) -> dict[datetime, float]:
    """Return a series' values by minute; a minute without data has none."""
    points = series.get("data") or []
    return {read_time(one["timeStamp"]): float(one["average"]) for one in points if one.get("average") is not None}


def whole_count(value: float) -> int:
    """Return a count that Azure gives as an average: more than none is at least one.

    Examples
    --------
    >>> whole_count(0.0), whole_count(0.2), whole_count(2.6)
    (0, 1, 3)
    """
    return max(1, round(value)) if value > 0 else 0


Quantiles = Mapping[int, Mapping[tuple[str, ...], Mapping[datetime, float]]]


def _status(code: str) -> int:
    """Return a dimension's HTTP status."""
    if not code.isdigit():
        raise ObserveError(
            f"the metric RequestsPerMinute has the status code {code!r}, expected a number such as 200: its "
            "requests can neither be counted as answered nor as failed"
        )
    return int(code)


def _minute(
    minute: datetime, requests: Mapping[str, int], failures: Mapping[str, int], quantiles: Quantiles
) -> dict[str, Served]:
    return {
        name: _served(
            count, failures[name], _latencies_ms([quantiles[q].get((name,), {}) for q in PERCENTILES], minute)
        )
        for name, count in requests.items()
        if count
    }


def _latencies_ms(published: Sequence[Mapping[datetime, float]], minute: datetime) -> Sequence[float | None]:
    """Return a minute's percentiles: all of them, or none.

    Each is a metric of its own, which is ingested on its own; until then it is missing, or 0. What is left of them
    would be extrapolated: without the median of stable, its slow requests are counted as far fewer than they were.
    """
    latencies_ms = [one.get(minute) for one in published]
    return latencies_ms if all(latencies_ms) else [None] * len(published)


def _sum(intervals: Iterable[Mapping[str, Served]]) -> dict[str, Served]:
    """Sum intervals by deployment; latencies are means, weighted by requests."""
    by_name: dict[str, list[Served]] = defaultdict(list)
    for served in intervals:
        for name, one in served.items():
            by_name[name].append(one)
    return {
        name: _served(
            sum(one.requests for one in many),
            sum(one.failures for one in many),
            [_weighted_mean(many, field) for field in ("p50_ms", "p90_ms", "p95_ms", "p99_ms")],
        )
        for name, many in by_name.items()
    }


def _served(requests: int, failures: int, latencies_ms: Sequence[float | None]) -> Served:
    p50_ms, p90_ms, p95_ms, p99_ms = latencies_ms
    return Served(requests, failures, p50_ms, p90_ms, p95_ms, p99_ms)


def _weighted_mean(many: list[Served], field: str) -> float | None:
    known = [(getattr(one, field), one.requests) for one in many if getattr(one, field) is not None]
    weight = sum(requests for _, requests in known)
    return sum(value * requests for value, requests in known) / weight if weight else None


def _settled(requests: Mapping[datetime, Mapping[str, int]]) -> datetime | None:
    """Return the end of the newest minute that is known to be complete."""
    unsettled = datetime.now(UTC) - UNSETTLED
    shown = [minute for minute, counts in requests.items() if any(counts.values()) or minute < unsettled]
    return max(shown) + timedelta(minutes=1) if shown else None


def read_bandwidth(workspace: Workspace, endpoint_id: str) -> float | None:
    """Read the bandwidth of the busiest of the last 15 minutes; None where there is no data [bytes per second].

    Raises
    ------
    ObserveError
        If it cannot be read.
    """
    now = datetime.now(UTC)
    series = PlatformMetrics(workspace, endpoint_id).read("NetworkBytes", (), now - timedelta(minutes=15), now)
    return max((value for points in series.values() for value in points.values()), default=None)
