"""What each deployment served, as Azure saw it: the request log where it is kept, else Azure Monitor's metrics.

The request log (`AmlOnlineEndpointTrafficLog`, needs a diagnostic setting on the endpoint) counts requests one by
one; the metrics come as one point a minute, and their percentiles can only be averaged.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol

from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryPartialResult

from opslib.azure.arm import describe
from opslib.azure.connect import Workspace
from opslib.azure.scoring import PROBE_PREFIX
from opslib.errors import AzureError, ObserveError
from opslib.model import FAILURE_CODES, Endpoint, Interval, Observation, Served, is_failure

METRICS_API_VERSION = "2023-10-01"
DIAGNOSTICS_API_VERSION = "2021-05-01-preview"
TRAFFIC_LOG = "AmlOnlineEndpointTrafficLog"

UNSETTLED = timedelta(minutes=5)
"""Newest minutes in which a zero means "not yet": Azure Monitor shows zeros until a minute is ingested."""


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

    def observe(self, since: datetime, until: datetime) -> Observation:
        """Say what every deployment of the endpoint served between two times."""


def find_source(workspace: Workspace, endpoint: Endpoint, wanted: str = "auto") -> Source:
    """Choose the request log where a diagnostic setting keeps it, else the metrics.

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
    return RequestLog(workspace, endpoint.id) if kept else Metrics(workspace, endpoint.id)


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


@dataclass(frozen=True)
class RequestLog:
    """The request log of one endpoint: every request, a few seconds to a few minutes late."""

    workspace: Workspace
    endpoint_id: str
    name: str = "request log"
    grain_s: float = 5.0
    shortest_bake_s: float = 1.0

    def observe(self, since: datetime, until: datetime) -> Observation:
        """Count users' requests between two times; the runbooks' own probes are left out."""
        window = f"where TimeGenerated >= {_kql_time(since)} and TimeGenerated < {_kql_time(until)}"
        users = f'where XMSClientRequestId !startswith "{PROBE_PREFIX}" and isnotempty(DeploymentName)'
        total = self._query(f"{TRAFFIC_LOG} | {window} | {users} | {_SUMMARIZE} by DeploymentName", since)
        grain = f"bin(TimeGenerated, {self.grain_s:.0f}s)"
        rows = self._query(
            f"{TRAFFIC_LOG} | {window} | {users} | {_SUMMARIZE} by DeploymentName, {grain}"
            " | order by TimeGenerated asc",
            since,
        )
        newest = self._query(
            f"{TRAFFIC_LOG} | where TimeGenerated >= {_kql_time(since)} | summarize newest = max(TimeGenerated)",
            since,
        )
        intervals: dict[datetime, dict[str, Served]] = defaultdict(dict)
        for row in rows:
            intervals[_time(row["TimeGenerated"])][row["DeploymentName"]] = _served(row)
        return Observation(
            source=self.name,
            since=since,
            until=until,
            watermark=next((_time(row["newest"]) for row in newest if row["newest"]), None),
            total={row["DeploymentName"]: _served(row) for row in total},
            intervals=tuple(
                _clipped(start, self.grain_s, since, until, intervals[start]) for start in sorted(intervals)
            ),
        )

    def answered_by(self, client_request_ids: Iterable[str], since: datetime) -> dict[str, str]:
        """Name the deployment that answered each of our own requests, as far as the log shows them yet."""
        ids = ", ".join(f'"{i}"' for i in client_request_ids)
        rows = self._query(
            f"{TRAFFIC_LOG} | where TimeGenerated >= {_kql_time(since)} | where XMSClientRequestId in ({ids})"
            " | project XMSClientRequestId, DeploymentName",
            since,
        )
        return {row["XMSClientRequestId"]: row["DeploymentName"] for row in rows}

    def _query(self, kql: str, since: datetime) -> list[dict[str, Any]]:
        try:
            with LogsQueryClient(self.workspace.credential, endpoint=self.workspace.log_analytics) as client:
                answer = client.query_resource(self.endpoint_id, kql, timespan=(since, datetime.now(UTC)))
        except HttpResponseError as error:
            raise ObserveError(f"the request log cannot be read: {describe(error)}\n{kql}") from error
        except CoreError as error:
            raise ObserveError(f"the request log cannot be read: {error.message}") from error
        if isinstance(answer, LogsQueryPartialResult):
            raise ObserveError(f"the request log answered in part only: {answer.partial_error}\n{kql}")
        return [dict(zip(table.columns, row, strict=True)) for table in answer.tables for row in table.rows]


def _clipped(
    start: datetime, grain_s: float, since: datetime, until: datetime, served: Mapping[str, Served]
) -> Interval:
    """The part of a grain that was observed: the first and the last one are cut."""
    first, last = max(start, since), min(start + timedelta(seconds=grain_s), until)
    return Interval(first, (last - first).total_seconds(), served)


_SUMMARIZE = (
    "extend code = toint(ResponseCode) | summarize requests = count(), "
    f"failures = countif(code >= 500 or code in ({', '.join(str(c) for c in sorted(FAILURE_CODES))})), "
    "p50_ms = percentile(TotalDurationMs, 50), p95_ms = percentile(TotalDurationMs, 95), "
    "p99_ms = percentile(TotalDurationMs, 99)"
)
"""The same failures as `is_failure`, counted where the log is."""


@dataclass(frozen=True)
class Metrics:
    """Azure Monitor's metrics of one endpoint: one point a minute, several minutes late."""

    workspace: Workspace
    endpoint_id: str
    name: str = "metrics"
    grain_s: float = 60.0
    shortest_bake_s: float = 120.0

    def observe(self, since: datetime, until: datetime) -> Observation:
        """Sum the whole minutes between two times.

        Requests are sums of RequestsPerMinute (Average, PT1M). Percentiles over the whole time are means of the
        minutes' percentiles weighted by requests: an approximation, since percentiles do not add up.
        """
        first, last = _whole_minute(since, up=True), _whole_minute(until, up=False)
        shown_until = max(last, _whole_minute(datetime.now(UTC), up=False))
        counts = self._read("RequestsPerMinute", ("deployment", "statusCode"), first, shown_until)
        requests: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        failures: dict[datetime, dict[str, int]] = defaultdict(lambda: defaultdict(int))
        for (deployment, code), points in counts.items():
            for minute, value in points.items():
                requests[minute][deployment] += round(value)
                failures[minute][deployment] += round(value) if is_failure(int(code)) else 0
        quantiles = {q: self._read(f"RequestLatency_P{q}", ("deployment",), first, last) for q in (50, 95, 99)}
        intervals = tuple(
            Interval(minute, 60.0, _minute(minute, requests[minute], failures[minute], quantiles))
            for minute in sorted(requests)
            if minute < last
        )
        return Observation(
            self.name, first, last, _settled(requests), _add_up(i.served for i in intervals), intervals
        )

    def _read(
        self, metric: str, dimensions: tuple[str, ...], since: datetime, until: datetime
    ) -> dict[tuple[str, ...], dict[datetime, float]]:
        """Read a metric's minutes by its dimensions; a minute without data is left out, not zero."""
        if since >= until:
            return {}
        query = {
            "metricnames": metric,
            "interval": "PT1M",
            "aggregation": "Average",
            "timespan": f"{_iso(since)}/{_iso(until)}",
            "$filter": " and ".join(f"{dimension} eq '*'" for dimension in dimensions),
        }
        try:
            path = f"{self.endpoint_id}/providers/Microsoft.Insights/metrics"
            answer = self.workspace.arm.get(path, METRICS_API_VERSION, **query)
        except AzureError as error:
            raise ObserveError(f"the metrics cannot be read: {error}") from error
        series = {}
        for one in answer["value"][0]["timeseries"]:
            values = {v["name"]["value"].lower(): v["value"] for v in one.get("metadatavalues", [])}
            key = tuple(values.get(dimension.lower(), "") for dimension in dimensions)
            points = {_time(p["timeStamp"]): p["average"] for p in one["data"] if p.get("average") is not None}
            series[key] = points
        return series


Quantiles = Mapping[int, Mapping[tuple[str, ...], Mapping[datetime, float]]]


def _minute(
    minute: datetime, requests: Mapping[str, int], failures: Mapping[str, int], quantiles: Quantiles
) -> dict[str, Served]:
    return {
        name: Served(count, failures[name], *(quantiles[q].get((name,), {}).get(minute) for q in (50, 95, 99)))
        for name, count in requests.items()
        if count
    }


def _add_up(intervals: Iterable[Mapping[str, Served]]) -> dict[str, Served]:
    """Add intervals up by deployment; latencies are means weighted by requests."""
    by_name: dict[str, list[Served]] = defaultdict(list)
    for served in intervals:
        for name, one in served.items():
            by_name[name].append(one)
    return {
        name: Served(
            sum(one.requests for one in many),
            sum(one.failures for one in many),
            *(_weighted_mean(many, field) for field in ("p50_ms", "p95_ms", "p99_ms")),
        )
        for name, many in by_name.items()
    }


def _weighted_mean(many: list[Served], field: str) -> float | None:
    known = [(getattr(one, field), one.requests) for one in many if getattr(one, field) is not None]
    weight = sum(requests for _, requests in known)
    return sum(value * requests for value, requests in known) / weight if weight else None


def _settled(requests: Mapping[datetime, Mapping[str, int]]) -> datetime | None:
    """End of the newest minute that is known to be whole."""
    unsettled = datetime.now(UTC) - UNSETTLED
    shown = [minute for minute, counts in requests.items() if any(counts.values()) or minute < unsettled]
    return max(shown) + timedelta(minutes=1) if shown else None


def _served(row: Mapping[str, Any]) -> Served:
    return Served(row["requests"], row["failures"], row["p50_ms"], row["p95_ms"], row["p99_ms"])


def _time(value: Any) -> datetime:
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _iso(time: datetime) -> str:
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _kql_time(time: datetime) -> str:
    return f"datetime({_iso(time)})"


def _whole_minute(time: datetime, *, up: bool) -> datetime:
    floor = time.replace(second=0, microsecond=0)
    return floor + timedelta(minutes=1) if up and floor != time else floor
