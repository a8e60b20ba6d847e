# ruff: noqa: S608 - SQL is made of metric_table's own words
"""Handlers: Azure Monitor metrics of endpoints and deployments, computed from what was served.

Shape: azure-rest-api-specs, monitor stable/2023-10-01/examples/GetMetric.json.
"""

import asyncio
import re
from contextlib import closing
from typing import Any
from urllib.parse import unquote

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.store import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us, parse_duration_s, parse_iso_us
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.telemetry.kql.query import add_functions
from opslib.sandbox.telemetry.metric_catalog import DIMENSIONS, OFFERED, Metric

MINUTE = 60 * MICROSECONDS
_MAX_MINUTES = 93 * 24 * 60
_FILTER = re.compile(r"(?P<name>[\w]+)\s+(?P<sign>eq|ne)\s+'(?P<value>[^']*)'", re.IGNORECASE)

Row = dict[str, Any]
Point = dict[str, float | None]
Condition = tuple[str, str, str]  # dimension, eq or ne, value
Window = tuple[int, int, int]  # start, end, grain [microseconds]


async def list_metrics(request: Request, sandbox: Sandbox) -> Response:
    """`GET {resource}/providers/Microsoft.Insights/metrics`.

    Points exist for complete minutes only; a point without data has no aggregation key.
    """
    resource = _resource(request, sandbox)
    chosen = [find_metric(resource, name) for name in _names(request, resource)]
    window = _window(request, resource, sandbox)
    split = _FILTER.findall(request.query.get("$filter", ""))
    sandbox.telemetry.flush()
    values = []
    for metric in chosen:
        _check(metric, request, split)
        series = await asyncio.to_thread(read_series, sandbox, metric, resource, split, window)
        values.append(_value(metric, resource, request, series))
    start, end, grain = window
    body = {
        "cost": 59 * len(values),
        "timespan": f"{_short(start)}/{_short(end)}",
        "interval": f"PT{grain // MINUTE}M",
        "namespace": ids.resource_type(resource.id),
        "resourceregion": resource.body["location"],
        "value": values,
    }
    return Response(200, body)


def list_definitions(request: Request, sandbox: Sandbox) -> Response:
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


def list_namespaces(request: Request, sandbox: Sandbox) -> Response:
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


def latest_us(resource: Resource, sandbox: Sandbox) -> int:
    """Return until when a resource's metrics can be read [microseconds since the epoch]."""
    delay_s = sandbox.settings.metrics_delay_s + sandbox.faults.metrics_delay_s(*_names_of(resource))
    return now_us() - round(delay_s * MICROSECONDS)


def _resource(request: Request, sandbox: Sandbox) -> Resource:
    found = sandbox.store.get(request.parameters["scope"])
    if found is None or found.kind not in OFFERED:
        raise ArmError.not_found("resource", "/" + request.parameters["scope"])
    return found


def _names_of(resource: Resource) -> tuple[str, str]:
    """Return the names of an endpoint and, if it is one, a deployment."""
    if resource.kind == "deployments":
        return ids.name(ids.parent(resource.id)), resource.name
    return resource.name, ""


def _names(request: Request, resource: Resource) -> list[str]:
    sent = request.query.get("metricnames", "")
    return [name for name in sent.split(",") if name] or [OFFERED[resource.kind][0].name]


def find_metric(resource: Resource, name: str) -> Metric:
    """Return a metric that a resource has."""
    offered = {metric.name.lower(): metric for metric in OFFERED[resource.kind]}
    if name.lower() not in offered:
        valid = ",".join(metric.name for metric in offered.values())
        raise ArmError.bad_request(
            "Failed to find metric configuration for provider: Microsoft.MachineLearningServices, resource Type: "
            f"{ids.resource_type(resource.id).split('/', 1)[1]}, metric: {name}, Valid metrics: {valid}"
        )
    return offered[name.lower()]


def _check(metric: Metric, request: Request, split: list[Condition]) -> None:
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


def _window(request: Request, resource: Resource, sandbox: Sandbox) -> Window:
    """Return start, end and grain; the end is that of the last complete, ingested minute."""
    latest = latest_us(resource, sandbox)
    spanned = unquote(request.query.get("timespan", ""))  # the Azure CLI escapes it twice, and Azure reads it
    try:
        first, _, last = spanned.partition("/")
        start = parse_iso_us(first) if first else now_us() - 3600 * MICROSECONDS
        end = parse_iso_us(last) if last else now_us()
        grain_s = parse_duration_s(request.query.get("interval") or "PT1M")
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
    return start, max(start, end), grain


def read_series(
    sandbox: Sandbox, metric: Metric, resource: Resource, split: list[Condition], window: Window
) -> list[tuple[dict[str, str], list[Row]]]:
    """Read a metric's series, one for each value of the dimensions named in $filter. Runs in a thread."""
    proper = {name.lower(): name for name in metric.dimensions}
    conditions = [(proper[name.lower()], sign.lower(), value.lower()) for name, sign, value in split]
    names = list(dict.fromkeys(name for name, _, _ in conditions))
    groups: dict[tuple[str, ...], dict[int, Point]] = {} if names else {(): {}}
    for minute, average, minimum, maximum, *labels in _query(sandbox, metric, resource, names, window):
        key = tuple(labels)
        if sandbox.faults.lost(*_names_of(resource), minute * MINUTE, (minute + 1) * MINUTE):
            continue
        if all(_wanted(name, value.lower(), conditions) for name, value in zip(names, key, strict=True)):
            point = {"average": average, "minimum": minimum, "maximum": maximum}
            groups.setdefault(key, {})[minute * MINUTE] = point
    return [(dict(zip(names, key, strict=True)), _points(found, window)) for key, found in sorted(groups.items())]


def _query(
    sandbox: Sandbox, metric: Metric, resource: Resource, names: list[str], window: Window
) -> list[tuple[Any, ...]]:
    """Return (minute, average, minimum, maximum, dimension values...) of each minute that has rows."""
    if not metric.source:
        return []
    where, arguments = f"{'deployment' if metric.source == 'samples' else 'endpoint'} = ?", [resource.key]
    if metric.source == "requests" and resource.kind == "deployments":
        where, arguments = where + " AND deployment = ?", [ids.key(ids.parent(resource.id)), resource.name.lower()]
    columns = ", ".join([f"at_us / {MINUTE}", *metric.points(), *(DIMENSIONS[name] for name in names)])
    grouping = ", ".join(["1", *(str(index + 5) for index in range(len(names)))])
    sql = f"SELECT {columns} FROM {metric.source} WHERE {where} AND at_us >= ? AND at_us < ? GROUP BY {grouping}"
    with closing(sandbox.telemetry.reader()) as connection:
        add_functions(connection)
        return connection.execute(sql, (*arguments, window[0], window[1])).fetchall()


def _wanted(name: str, value: str, conditions: list[Condition]) -> bool:
    """Answer whether a dimension's value passes $filter: any `eq` of it (or `*`), and every `ne`."""
    equal = [given for field, sign, given in conditions if field == name and sign == "eq"]
    unequal = [given for field, sign, given in conditions if field == name and sign == "ne"]
    return value not in unequal and (not equal or "*" in equal or value in equal)


def _points(minutes: dict[int, Point], window: Window) -> list[Row]:
    start, end, grain = window
    points = []
    for at in range(start, end, grain):
        inside = [minutes[minute] for minute in range(at, min(at + grain, end), MINUTE) if minute in minutes]
        points.append({"timeStamp": _short(at), **_merge(inside)})
    return points


def _merge(points: list[Point]) -> dict[str, float]:
    """Join the minutes of one longer interval; of none, nothing."""
    if not points:
        return {}
    merged = {"average": sum(point["average"] or 0.0 for point in points) / len(points)}
    if points[0]["minimum"] is not None:
        merged["minimum"] = min(point["minimum"] or 0.0 for point in points)
        merged["maximum"] = max(point["maximum"] or 0.0 for point in points)
    return merged


def _value(
    metric: Metric, resource: Resource, request: Request, series: list[tuple[dict[str, str], list[Row]]]
) -> dict[str, Any]:
    wanted = {one.lower() for one in _aggregations(request)} | {"timestamp"}
    return {
        "id": f"{resource.id}/providers/Microsoft.Insights/metrics/{metric.name}",
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


def _short(at_us: int) -> str:
    return iso(at_us)[:19] + "Z"
