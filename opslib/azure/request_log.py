"""The request log of one endpoint (`AmlOnlineEndpointTrafficLog`), which has a row for every request.

It needs a diagnostic setting on the endpoint. Rows appear a few seconds to a few minutes late.
"""

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from math import ceil, isfinite
from typing import Any, TypeVar

from azure.core.exceptions import AzureError as CoreError
from azure.core.exceptions import HttpResponseError
from azure.monitor.query import LogsQueryClient, LogsQueryPartialResult

from opslib.azure.arm_errors import describe
from opslib.azure.arm_transport import HTTP_TIMEOUTS
from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import kql_time, read_time
from opslib.azure.resource import spelled
from opslib.errors import ObserveError
from opslib.model import FAILURE_CODES, Observation, Served, ServedInterval
from opslib.model.served import PROBE_PREFIX
from opslib.model.symptoms import AnswerCount

TRAFFIC_LOG = "AmlOnlineEndpointTrafficLog"

MIN_FOR_QUANTILES = 50
"""Smallest number of requests from which a tail quantile is read [count]."""

IDS_LENGTH = 16_000
"""Longest list of request ids in one query; a service that reads queries limits their length [characters]."""

_COLUMNS = (
    *("TimeGenerated", "DeploymentName", "XMSClientRequestId", "ResponseCode", "ModelStatusCode"),
    *("ResponseCodeReason", "requests", "failures", "newest", "first", "last"),
)
T = TypeVar("T")


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
        by = f"DeploymentName, bin(TimeGenerated, {self.grain_s:.0f}s) | order by TimeGenerated asc"
        total, rows, newest = self._query(
            since,
            f"{TRAFFIC_LOG} | {window} | {users} | {summarize} by DeploymentName",
            f"{TRAFFIC_LOG} | {window} | {users} | {summarize} by {by}",
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | summarize newest = max(TimeGenerated)",
        )
        intervals: dict[datetime, dict[str, Served]] = defaultdict(dict)
        for start, served in _read_each(
            rows, lambda row: (read_time(row["TimeGenerated"]), _by_deployment(row, thresholds_ms))
        ):
            intervals[start] |= served
        read = {
            name: one
            for row in _read_each(total, lambda row: _by_deployment(row, thresholds_ms))
            for name, one in row.items()
        }
        last = _read_each(newest, lambda row: read_time(row["newest"]) if row["newest"] else None)
        return Observation(
            source=self.name,
            since=since,
            until=until,
            watermark=next(filter(None, last), None),
            total=read,
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
        (rows,) = self._query(
            since,
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} and TimeGenerated < {kql_time(until)}"
            f' | where DeploymentName =~ "{deployment}" and XMSClientRequestId !startswith "{PROBE_PREFIX}"'
            f" | summarize requests = count(), {columns}",
        )
        enough = [
            row for row in rows if _read_each([row], lambda one: _whole(one["requests"]))[0] >= MIN_FOR_QUANTILES
        ]
        read = _read_each(enough, lambda row: tuple(_number(row[f"q{n}"]) for n in range(len(quantiles))))
        return read[0] if read else ()

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
        queries = (
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | where XMSClientRequestId in ({ids})"
            " | project XMSClientRequestId, DeploymentName, TimeGenerated"
            for ids in _listed(client_request_ids)
        )
        for rows in self._query(since, *queries):
            found |= _read_each(
                rows,
                lambda row: (
                    str(row["XMSClientRequestId"]),
                    Exposure(str(row["DeploymentName"] or ""), read_time(row["TimeGenerated"])),
                ),
            )
        return found

    def count_answers(self, since: datetime) -> tuple[AnswerCount, ...]:
        """Count all requests since a time by deployment, statuses and reason, those of opslib included."""
        keys = ("DeploymentName", "ResponseCode", "ModelStatusCode", "ResponseCodeReason")
        (rows,) = self._query(
            since,
            f"{TRAFFIC_LOG} | where TimeGenerated >= {kql_time(since)} | summarize requests = count(), "
            f"first = min(TimeGenerated), last = max(TimeGenerated) by {', '.join(keys)}",
        )
        return tuple(_read_each(rows, _answer_count))

    def _query(self, since: datetime, *queries: str) -> list[list[dict[str, Any]]]:
        """Return the rows of each query; all are sent over one connection, which is not kept."""
        with LogsQueryClient(
            self.workspace.credential, endpoint=self.workspace.log_analytics, retry_total=1, **HTTP_TIMEOUTS
        ) as client:
            return [self._rows(client, kql, since) for kql in queries]

    def _rows(self, client: LogsQueryClient, kql: str, since: datetime) -> list[dict[str, Any]]:
        try:
            response = client.query_resource(self.endpoint_id, kql, timespan=(since, datetime.now(UTC)))
        except HttpResponseError as error:
            raise ObserveError(f"the request log cannot be read: {describe(error)}\n{kql}") from error
        except CoreError as error:
            raise ObserveError(f"the request log cannot be read: {error.message}") from error
        if isinstance(response, LogsQueryPartialResult):
            raise ObserveError(f"the request log returned a partial result: {response.partial_error}\n{kql}")
        return _read_each(
            [(table.columns, row) for table in response.tables for row in table.rows],
            lambda pair: spelled(dict(zip(*pair, strict=True)), _COLUMNS),
        )


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


def _read_each(rows: Iterable[Any], read: Callable[[Any], T]) -> list[T]:
    """Read every row of an answer.

    Raises
    ------
    ObserveError
        If a row is not understood: neither a success nor a failure is made up of it.
    """
    found = []
    for row in rows:
        try:
            found.append(read(row))
        except (KeyError, TypeError, ValueError) as error:
            raise ObserveError(
                "the request log is not understood: expected the columns that were queried, each with a value, "
                f"got {str(row)[:200]} ({type(error).__name__}: {error}). Run the query in Log Analytics; if its "
                "answer is right there, report this"
            ) from error
    return found


def _answer_count(row: Mapping[str, Any]) -> AnswerCount:
    return AnswerCount(
        deployment=str(row["DeploymentName"] or ""),
        status=_whole(row["ResponseCode"]),
        model_status=str(row["ModelStatusCode"] or ""),
        requests=_whole(row["requests"]),
        first=read_time(row["first"]),
        last=read_time(row["last"]),
        reason=str(row["ResponseCodeReason"] or ""),
    )


def _by_deployment(row: Mapping[str, Any], thresholds_ms: Sequence[float]) -> dict[str, Served]:
    name = row["DeploymentName"]
    if not isinstance(name, str):
        raise TypeError(f"DeploymentName is {name!r}")
    above = tuple((threshold, _whole(row[f"above_{n}"])) for n, threshold in enumerate(thresholds_ms))
    p50, p90, p95, p99 = (_number(row[column]) for column in ("p50_ms", "p90_ms", "p95_ms", "p99_ms"))
    return {name: Served(_whole(row["requests"]), _whole(row["failures"]), p50, p90, p95, p99, above)}


def _whole(value: Any) -> int:
    number = _number(value)
    if number < 0 or not number.is_integer():
        raise ValueError(f"{value!r} is no count")
    return int(number)


def _number(value: Any) -> float:
    number = float(value)
    if not isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


_SUMMARIZE = (
    "extend code = toint(ResponseCode) | summarize requests = count(), "
    f"failures = countif(code >= 500 or code in ({', '.join(str(c) for c in sorted(FAILURE_CODES))})), "
    "p50_ms = percentile(TotalDurationMs, 50), p90_ms = percentile(TotalDurationMs, 90), "
    "p95_ms = percentile(TotalDurationMs, 95), p99_ms = percentile(TotalDurationMs, 99)"
)
"""Counts the same failures as `is_failure`, in the service."""
