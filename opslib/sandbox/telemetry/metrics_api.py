"""Handlers: Azure Monitor metrics of endpoints and deployments, computed from what was served.

Shape: azure-rest-api-specs, monitor stable/2023-10-01/examples/GetMetric.json.
"""

import asyncio
import re
from collections.abc import Sequence
from typing import Any
from urllib.parse import unquote

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import ANY_SCOPE, INSIGHTS, RECORDED, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, now_us, parse_duration_s, parse_interval_us, parse_iso_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry.metric_catalog import OFFERED, Metric
from opslib.sandbox.telemetry.series import (
    MINUTE,
    Condition,
    Series,
    Window,
    find_metric,
    iso_seconds,
    latest_us,
    read_series,
)

_MAX_MINUTES = 93 * 24 * 60
FILTER = re.compile(r"(?P<name>[\w]+)\s+(?P<sign>eq|ne)\s+'(?P<value>[^']*)'", re.IGNORECASE)


async def list_metrics(request: Request, sandbox: Backend) -> Response:
    """`GET {resource}/providers/Microsoft.Insights/metrics`.

    Points exist for complete minutes only; a point without data has no aggregation key.
    """
    resource = _resource(request, sandbox)
    chosen = [find_metric(resource, name) for name in _names(request, resource)]
    window = window_of(request, resource, sandbox)
    split = FILTER.findall(request.query.get("$filter", ""))
    for metric in chosen:
        check(metric, request, split)
    sandbox.telemetry.flush()
    found = await asyncio.to_thread(
        lambda: [first(read_series(sandbox, metric, resource, split, window), request) for metric in chosen]
    )
    values = [value_of(metric, resource.id, request, series) for metric, series in zip(chosen, found, strict=True)]
    start, end, grain = window
    body = {
        "cost": 59 * len(values),
        "timespan": f"{iso_seconds(start)}/{iso_seconds(end)}",
        "interval": f"PT{grain // MINUTE}M",
        "namespace": ids.resource_type(resource.id),
        "resourceregion": resource.body["location"],
        "value": values,
    }
    return Response(200, body)


def list_definitions(request: Request, sandbox: Backend) -> Response:
    """`GET {resource}/providers/Microsoft.Insights/metricDefinitions`."""
    resource = _resource(request, sandbox)
    rows = [
        {
            "id": f"{resource.id}/providers/microsoft.insights/metricdefinitions/{metric.name}",
            "resourceId": resource.id,
            "namespace": ids.resource_type(resource.id),
            "name": {"value": metric.name, "localizedValue": metric.name},
            "isDimensionRequired": False,
            "unit": metric.unit,
            "primaryAggregationType": "Average",
            "supportedAggregationTypes": list(metric.aggregations),
            "metricAvailabilities": [{"timeGrain": "PT1M", "retention": "P93D"}],
            "dimensions": [{"value": name, "localizedValue": name} for name in metric.dimensions],
        }
        for metric in OFFERED[resource.kind]
    ]
    return Response(200, {"value": rows})


def list_namespaces(request: Request, sandbox: Backend) -> Response:
    """`GET {resource}/providers/Microsoft.Insights/metricNamespaces`."""
    resource = _resource(request, sandbox)
    namespace = ids.resource_type(resource.id)
    row = {
        "id": f"{resource.id}/providers/microsoft.insights/metricNamespaces/{namespace}",
        "type": "Microsoft.Insights/metricNamespaces",
        "name": namespace,
        "classification": "Platform",
        "properties": {"metricNamespaceName": namespace},
    }
    return Response(200, {"value": [row]})


def _resource(request: Request, sandbox: Backend) -> Resource:
    found = sandbox.store.get(request.parameters["scope"])
    if found is None or found.kind not in OFFERED:
        raise ArmError.not_found("resource", "/" + request.parameters["scope"])
    return found


def _names(request: Request, resource: Resource) -> list[str]:
    sent = request.query.get("metricnames", "")
    return [name for name in sent.split(",") if name] or [OFFERED[resource.kind][0].name]


def check(metric: Metric, request: Request, split: list[Condition]) -> None:
    """Refuse an aggregation or a dimension that a metric lacks."""
    for wanted in _aggregations(request):
        if wanted.capitalize() not in metric.aggregations:
            raise ArmError.bad_request(
                f"Metric {metric.name} does not offer aggregation '{wanted}'. "
                f"Supported: {', '.join(metric.aggregations)}."
            )
    known = {name.lower() for name in metric.dimensions}
    for name, _, _ in split:
        if name.lower() not in known:
            raise ArmError.bad_request(
                f"Metric: {metric.name} does not support requested dimension combination: {name}, "
                f"supported ones are: {','.join(metric.dimensions)}"
            )


def _aggregations(request: Request) -> list[str]:
    return [one.strip() for one in request.query.get("aggregation", "Average").split(",") if one.strip()]


def window_of(request: Request, resource: Resource, sandbox: Backend) -> Window:
    """Return start, end and grain; the end is that of the last complete, ingested minute."""
    latest = latest_us(resource, sandbox)
    spanned = unquote(request.query.get("timespan", ""))  # the Azure CLI escapes it twice, and Azure reads it
    try:
        start, end = _interval_us(spanned)
        whole = request.query.get("interval", "").upper() == "FULL"
        grain_s = 60.0 if whole else parse_duration_s(request.query.get("interval") or "PT1M")
    except ValueError as error:
        raise ArmError.bad_request(f"The timespan or interval cannot be read: {error}.") from error
    grain = round(grain_s) * MICROSECONDS
    if grain < MINUTE or grain % MINUTE:
        raise ArmError.bad_request(f"The interval must be whole minutes of at least PT1M, got {grain_s:g} s.")
    start -= start % MINUTE
    end = min(end, latest)
    end -= end % MINUTE
    if end - start > _MAX_MINUTES * MINUTE:
        raise ArmError.bad_request("The timespan is longer than the retention of 93 days.")
    end = max(start, end)
    return start, end, max(grain, end - start) if whole else grain


def _interval_us(text: str) -> tuple[int, int]:
    """Read a timespan: an interval, a start alone, or nothing, which is the last hour."""
    first, _, last = text.partition("/")
    if first and not last and not first.startswith("P"):
        return parse_iso_us(first), now_us()
    return parse_interval_us(text or "PT1H", now_us())


def first(series: Sequence[Series], request: Request) -> Sequence[Series]:
    """Return the series of one resource that a request receives: where it has a filter, the first `top`, or 10."""
    if not request.query.get("$filter"):
        return series
    top = request.query.get("top", "10")
    if not top.isdecimal():
        raise ArmError.bad_request(f"Detected invalid TopN value '{top}'. TopN should be an Int value.")
    return series[: int(top)]


def value_of(metric: Metric, resource_id: str, request: Request, series: Sequence[Series]) -> dict[str, Any]:
    """Return a metric's member of `value`: a series for each of its labels."""
    wanted = {one.lower() for one in _aggregations(request)} | {"timestamp"}
    return {
        "id": f"{resource_id}/providers/Microsoft.Insights/metrics/{metric.name}",
        "type": "Microsoft.Insights/metrics",
        "name": {"value": metric.name, "localizedValue": metric.name},
        "displayDescription": metric.name,
        "unit": metric.unit,
        "errorCode": "Success",
        "timeseries": [
            {
                "metadatavalues": [
                    {"name": {"value": name.lower(), "localizedValue": name.lower()}, "value": value}
                    for name, value in labels.items()
                ],
                "data": [{key: value for key, value in point.items() if key.lower() in wanted} for point in points],
            }
            for labels, points in series
        ],
    }


ROUTES = (
    Route("GET", ANY_SCOPE + INSIGHTS + "/metrics", "Metrics_List", list_metrics, known=RECORDED),
    Route("GET", ANY_SCOPE + INSIGHTS + "/metricDefinitions", "MetricDefinitions_List", list_definitions),
    Route("GET", ANY_SCOPE + INSIGHTS + "/metricNamespaces", "MetricNamespaces_List", list_namespaces),
)
