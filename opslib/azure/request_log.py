"""The request log of one endpoint (`AmlOnlineEndpointTrafficLog`), which has a row for every request.

It needs a diagnostic setting on the endpoint. Rows appear a few seconds to a few minutes late.
"""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil
from typing import Any

from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryPartialResult

from opslib.azure.arm import HTTP_TIMEOUTS
from opslib.azure.arm_errors import describe
from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import kql_time, read_time
from opslib.errors import ObserveError
from opslib.model import FAILURE_CODES, Observation, Served, ServedInterval
from opslib.model.served import PROBE_PREFIX
from opslib.model.symptoms import AnswerCount

TRAFFIC_LOG = "AmlOnlineEndpointTrafficLog"

MIN_FOR_QUANTILES = 50
"""Smallest number of requests from which a tail quantile is read [count]."""

IDS_LENGTH = 16_000
"""Longest list of request ids in one query; a service that reads queries limits their length [characters]."""


@dataclass(frozen=True)
class Exposure:
    """Which deployment answered a request, and when."""

    deployment: str
    at: datetime


@dataclass(frozen=True)
class RequestLog:
    """The request log of one endpoint; the source called "request log"."""

    workspace: Workspace
    endpoint_id: str
    grain_s: float = 5.0
    name: str = "request log"
    per_request: bool = True
    shortest_bake_s: float = 1.0
    least_lag_s: float = 0.0

    def observe(self, since: datetime, until: datetime, thresholds_ms: Sequence[float] = ()) -> Observation:
        """Count the users' requests between two times; the runbooks' own probes are excluded."""
        summarize = _SUMMARIZE + "".join(
            f", above_{n} = countif(TotalDurationMs > {threshold:.3f})" for n, threshold in enumerate(thresholds_ms)
        )
        window = f"where TimeGenerated >= {kql_time(since)} and TimeGenerated < {kql_time(until)}"
        users = f'where XMSClientRequestId !startswith "{PROBE_PREFIX}" and isnotempty(DeploymentName)'
        total = self._query(f"{TRAFFIC_LOG} | {window} | {users} | {summarize} by DeploymentName", since)
        grain = f"bin(TimeGenerated, {self.grain_s:.0f}s)"
        rows = self._query(
            f"{TRAFFIC_LOG} | {window} | {users} | {summarize} by DeploymentName, {grain}"
            " | order by TimeGenerated asc",
            since,
        )
        newest = self._query(
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | summarize newest = max(TimeGenerated)",
            since,
        )
        intervals: dict[datetime, dict[str, Served]] = defaultdict(dict)
        for row in rows:
            intervals[read_time(row["TimeGenerated"])][row["DeploymentName"]] = _served(row, thresholds_ms)
        return Observation(
            source=self.name,
            since=since,
            until=until,
            watermark=next((read_time(row["newest"]) for row in newest if row["newest"]), None),
            total={row["DeploymentName"]: _served(row, thresholds_ms) for row in total},
            intervals=tuple(
                _clip(start, self.grain_s, since, until, intervals[start]) for start in sorted(intervals)
            ),
        )

    def coarser(self, grain_s: float) -> "RequestLog":
        """Return the log in intervals of at least this length [seconds]."""
        return replace(self, grain_s=max(self.grain_s, float(ceil(grain_s))))

    def quantiles_ms(
        self, deployment: str, since: datetime, until: datetime, quantiles: Sequence[float]
    ) -> tuple[float, ...]:
        """Return quantiles of the latency of users' requests; empty where there were too few [ms]."""
        columns = ", ".join(f"q{n} = percentile(TotalDurationMs, {100 * q:g})" for n, q in enumerate(quantiles))
        rows = self._query(
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} and TimeGenerated < {kql_time(until)}"
            f' | where DeploymentName =~ "{deployment}" and XMSClientRequestId !startswith "{PROBE_PREFIX}"'
            f" | summarize requests = count(), {columns}",
            since,
        )
        if not rows or rows[0]["requests"] < MIN_FOR_QUANTILES:
            return ()
        return tuple(float(rows[0][f"q{n}"]) for n in range(len(quantiles)))

    def answered_by(self, client_request_ids: Iterable[str], since: datetime) -> dict[str, Exposure]:
        """Return which deployment answered each of these requests, and when; those not logged yet are left out.

        Parameters
        ----------
        client_request_ids
            Values of the header `x-ms-client-request-id`; letters, digits and ``._:-``.
        since
            A time before the first of them was sent.
        """
        found: dict[str, Exposure] = {}
        for ids in _listed(client_request_ids):
            rows = self._query(
                f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | where XMSClientRequestId in ({ids})"
                " | project XMSClientRequestId, DeploymentName, TimeGenerated",
                since,
            )
            for row in rows:
                at = read_time(row["TimeGenerated"])
                found[row["XMSClientRequestId"]] = Exposure(row["DeploymentName"], at)
        return found

    def count_answers(self, since: datetime) -> tuple[AnswerCount, ...]:
        """Count all requests since a time by deployment, statuses and reason, those of opslib included."""
        keys = ("DeploymentName", "ResponseCode", "ModelStatusCode", "ResponseCodeReason")
        rows = self._query(
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | summarize requests = count(), "
            f"first = min(TimeGenerated), last = max(TimeGenerated) by {', '.join(keys)}",
            since,
        )
        return tuple(
            AnswerCount(
                deployment=str(row["DeploymentName"] or ""),
                status=int(row["ResponseCode"]),
                model_status=str(row["ModelStatusCode"] or ""),
                requests=int(row["requests"]),
                first=read_time(row["first"]),
                last=read_time(row["last"]),
                reason=str(row["ResponseCodeReason"] or ""),
            )
            for row in rows
        )

    def _query(self, kql: str, since: datetime) -> list[dict[str, Any]]:
        try:
            with LogsQueryClient(
                self.workspace.credential, endpoint=self.workspace.log_analytics, retry_total=1, **HTTP_TIMEOUTS
            ) as client:
                response = client.query_resource(self.endpoint_id, kql, timespan=(since, datetime.now(UTC)))
        except HttpResponseError as error:
            raise ObserveError(f"the request log cannot be read: {describe(error)}\n{kql}") from error
        except CoreError as error:
            raise ObserveError(f"the request log cannot be read: {error.message}") from error
        if isinstance(response, LogsQueryPartialResult):
            raise ObserveError(f"the request log returned a partial result: {response.partial_error}\n{kql}")
        return [dict(zip(table.columns, row, strict=True)) for table in response.tables for row in table.rows]


def _listed(client_request_ids: Iterable[str]) -> Iterator[str]:
    """Yield the ids as lists for a query, each at most `IDS_LENGTH` long.

    Examples
    --------
    >>> list(_listed(["a", "b"])), [len(one) for one in _listed(["x" * 128] * 200)]
    (['"a", "b"'], [15838, 10558])
    """
    ids: list[str] = []
    length = 0
    for one in client_request_ids:
        if length + len(one) + 4 > IDS_LENGTH:
            yield ", ".join(ids)
            ids, length = [], 0
        ids.append(f'"{one}"')
        length += len(one) + 4
    if ids:
        yield ", ".join(ids)


def _clip(
    start: datetime, grain_s: float, since: datetime, until: datetime, served: Mapping[str, Served]
) -> ServedInterval:
    """Return an interval cut to the observed time: the first and the last one may reach beyond it."""
    first, last = max(start, since), min(start + timedelta(seconds=grain_s), until)
    return ServedInterval(first, (last - first).total_seconds(), served)


def _served(row: Mapping[str, Any], thresholds_ms: Sequence[float]) -> Served:
    above = tuple((threshold, int(row[f"above_{n}"])) for n, threshold in enumerate(thresholds_ms))
    latencies = (row["p50_ms"], row["p90_ms"], row["p95_ms"], row["p99_ms"])
    return Served(row["requests"], row["failures"], *latencies, above)


_SUMMARIZE = (
    "extend code = toint(ResponseCode) | summarize requests = count(), "
    f"failures = countif(code >= 500 or code in ({', '.join(str(c) for c in sorted(FAILURE_CODES))})), "
    "p50_ms = percentile(TotalDurationMs, 50), p90_ms = percentile(TotalDurationMs, 90), "
    "p95_ms = percentile(TotalDurationMs, 95), p99_ms = percentile(TotalDurationMs, 99)"
)
"""Counts the same failures as `is_failure`, in the service."""
