"""What shows how an endpoint fails: answers by status, operations' errors, refused changes, the certificate."""

import socket
import ssl
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime, timedelta
from typing import Any
from urllib.parse import urlsplit

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.monitor_time import read_time, write_time
from opslib.azure.platform_metrics import METRICS_API_VERSION
from opslib.azure.request_log import RequestLog
from opslib.azure.source import find_source
from opslib.errors import UnexpectedAnswer
from opslib.model import Deployment, Endpoint
from opslib.model.symptoms import AnswerCount, Attempt, Certificate, LastOperation, Utilization

ACTIVITY_API_VERSION = "2015-04-01"
TLS_TIMEOUT_S = 10.0
"""Longest wait for a TLS handshake [seconds]."""

_CHANGES = ("/write", "/delete", "/regeneratekeys/action")
_ISSUER_PARTS = frozenset({"organizationName", "commonName"})


def read_answers(workspace: Workspace, endpoint: Endpoint, since: datetime) -> tuple[AnswerCount, ...]:
    """Count the requests since a time by deployment, status and the container's status.

    The request log is read where it is kept; else the metric, which is published by the minute, several minutes
    late. Both include opslib's own probes.
    """
    source = find_source(workspace, endpoint)
    if isinstance(source, RequestLog):
        return source.count_answers(since)
    names = ("deployment", "statusCode", "modelStatusCode")
    until = datetime.now(UTC) + timedelta(minutes=1)
    query = {
        "metricnames": "RequestsPerMinute",
        "interval": "PT1M",
        "aggregation": "Average",
        "timespan": f"{write_time(since)}/{write_time(until)}",
        "$filter": " and ".join(f"{name} eq '*'" for name in names),
        "top": "200",
    }
    answer = workspace.arm.get(f"{endpoint.id}/providers/Microsoft.Insights/metrics", METRICS_API_VERSION, **query)
    found = (_count(labels, points) for labels, points in _series(answer))
    return tuple(sorted((one for one in found if one), key=lambda one: (one.deployment, one.status)))


def read_utilization(workspace: Workspace, deployment: Deployment, since: datetime) -> Utilization:
    """Read the highest CPU and memory utilization of a deployment's instances since a time."""
    query = {
        "metricnames": "CpuUtilizationPercentage,CpuMemoryUtilizationPercentage",
        "interval": "PT1M",
        "aggregation": "Maximum",
        "timespan": f"{write_time(since)}/{write_time(datetime.now(UTC) + timedelta(minutes=1))}",
    }
    path = f"{deployment.id}/providers/Microsoft.Insights/metrics"
    answer = workspace.arm.get(path, METRICS_API_VERSION, **query)
    highest: dict[str, float] = {}
    for metric in answer.get("value") or []:
        points = [point for series in metric.get("timeseries") or [] for point in series.get("data") or []]
        values = [float(point["maximum"]) for point in points if point.get("maximum") is not None]
        if values:
            highest[str(metric["name"]["value"]).lower()] = max(values)
    return Utilization(highest.get("cpuutilizationpercentage"), highest.get("cpumemoryutilizationpercentage"))


def read_last_operation(workspace: Workspace, arm: Mapping[str, Any]) -> LastOperation | None:
    """Read the last operation of an endpoint or deployment; None where the resource names none.

    Azure ML keeps its address in ``properties.properties.AzureAsyncOperationUri`` (azure-cli issue 30154).

    Raises
    ------
    UnexpectedAnswer
        If the address is on another host, which would be sent the token.
    """
    own = arm["properties"].get("properties") or {}
    uri = next((str(value) for name, value in own.items() if name.lower() == "azureasyncoperationuri"), "")
    if not uri:
        return None
    parts = urlsplit(uri)
    if parts.hostname != urlsplit(workspace.scope.resource_manager).hostname:
        raise UnexpectedAnswer(f"the operation's address is on another host, {parts.hostname}: nothing was sent")
    version = dict(item.split("=", 1) for item in parts.query.split("&") if "=" in item).get("api-version", "")
    body = workspace.arm.get(parts.path, version or "2023-04-01-preview")
    error = body.get("error")
    ended = str(body.get("endTime") or "")
    return LastOperation(
        status=str(body.get("status") or ""),
        error=error if isinstance(error, dict) else None,
        ended_at=datetime.fromisoformat(ended) if ended and not ended.startswith("0001") else None,
    )


def read_attempts(workspace: Workspace, endpoint: Endpoint, since: datetime) -> tuple[Attempt, ...]:
    """Read the changes of an endpoint and its deployments in the activity log, refused ones included, newest first.

    A request has several events (Started, Accepted, Succeeded), which share a correlation id. The error of a
    refused one is in ``properties.statusMessage``.
    """
    subscription = f"/subscriptions/{workspace.scope.subscription_id}"
    path = f"{subscription}/providers/Microsoft.Insights/eventtypes/management/values"
    window = f"eventTimestamp ge '{write_time(since)}' and eventTimestamp le '{write_time(datetime.now(UTC))}'"
    group = f"resourceGroupName eq '{workspace.scope.resource_group}'"
    rows = workspace.arm.list(path, ACTIVITY_API_VERSION, **{"$filter": f"{window} and {group}"})
    by_request: dict[tuple[str, str], list[Json]] = {}
    for row in rows:
        resource, operation = str(row.get("resourceId") or ""), _value(row.get("operationName"))
        if _is_within(resource, endpoint) and operation.lower().endswith(_CHANGES):
            by_request.setdefault((str(row.get("correlationId")), operation.lower()), []).append(row)
    return tuple(sorted(map(_attempt, by_request.values()), key=lambda one: one.at, reverse=True))


def read_certificate(workspace: Workspace, endpoint: Endpoint) -> Certificate:
    """Open a TLS connection to the endpoint's address as a client does, and read its certificate.

    Raises
    ------
    UnexpectedAnswer
        If the address cannot be reached, or there is none yet.
    """
    parts = urlsplit(endpoint.scoring_uri)
    host, port = parts.hostname or "", parts.port or 443
    if not host:
        raise UnexpectedAnswer(f"{endpoint.name} has no scoring address: it is being created, or creation failed")
    try:
        with (
            socket.create_connection((host, port), TLS_TIMEOUT_S) as raw,
            workspace.tls.wrap_socket(raw, server_hostname=host) as tls,
        ):
            found: Mapping[str, Any] = tls.getpeercert() or {}
    except ssl.SSLCertVerificationError as error:
        return Certificate(host, "", None, error.verify_message or str(error))
    except OSError as error:
        raise UnexpectedAnswer(f"{host}:{port} cannot be reached from this machine: {error}") from error
    names = [value for parts_ in found.get("issuer", ()) for name, value in parts_ if name in _ISSUER_PARTS]
    until = datetime.fromtimestamp(ssl.cert_time_to_seconds(str(found["notAfter"])), UTC)
    return Certificate(host, ", ".join(names), until)


def _series(answer: Json) -> Iterator[tuple[dict[str, str], list[Json]]]:
    for metric in answer.get("value") or []:
        for series in metric.get("timeseries") or []:
            labels = {
                str(one["name"]["value"]).lower(): str(one["value"]) for one in series.get("metadatavalues") or []
            }
            yield labels, [point for point in series.get("data") or [] if point.get("average")]


def _count(labels: Mapping[str, str], points: Iterable[Json]) -> AnswerCount | None:
    times = {read_time(str(point["timeStamp"])): float(point["average"]) for point in points}
    status = labels.get("statuscode", "")
    if not times or not status.isdigit():
        return None
    deployment, model_status = labels.get("deployment", ""), labels.get("modelstatuscode", "")
    return AnswerCount(deployment, int(status), model_status, round(sum(times.values())), min(times), max(times))


def _attempt(events: list[Json]) -> Attempt:
    """Read the events of one request; it was refused if one of them failed."""
    failed = [one for one in events if _value(one.get("status")).lower() == "failed"]
    first = min(events, key=lambda one: str(one["eventTimestamp"]))
    messages = (str((one.get("properties") or {}).get("statusMessage") or "") for one in failed)
    claims = first.get("claims") or {}
    return Attempt(
        at=read_time(str(first["eventTimestamp"])),
        resource_id=str(first.get("resourceId") or ""),
        operation=_value(first.get("operationName")),
        caller=str(claims.get("name") or first.get("caller") or "unknown"),
        succeeded=not failed,
        message=next(filter(None, messages), ""),
        correlation_id=str(first.get("correlationId") or ""),
    )


def _is_within(resource_id: str, endpoint: Endpoint) -> bool:
    return f"{resource_id.lower()}/".startswith(f"{endpoint.id.lower()}/")


def _value(named: Any) -> str:
    return str((named or {}).get("value") or "")
