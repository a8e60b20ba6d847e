"""Handlers: Azure Monitor metrics of endpoints and deployments, computed from what was served.

Shape: azure-rest-api-specs, monitor stable/2023-10-01/examples/GetMetric.json.
"""

import asyncio
import re
from contextlib import closing
from typing import Any

from . import ids
from .arm_errors import ArmError
from .clock import MICROSECONDS, iso, now_us, parse_duration_s, parse_iso_us
from .context import Sandbox
from .messages import Request, Response
from .metric_table import OFFERED, Metric, Point, Row
from .store import Resource

MINUTE = 60 * MICROSECONDS
_MAX_MINUTES = 93 * 24 * 60
_FILTER = re.compile(r"(?P<name>[\w]+)\s+(?P<sign>eq|ne)\s+'(?P<value>[^']*)'", re.IGNORECASE)


async def list_metrics(request: Request, sandbox: Sandbox) -> Response:
    """`GET {resource}/providers/Microsoft.Insights/metrics`.

    Points exist for complete minutes only; a point without data has no aggregation key.
    """
    resource = _resource(request, sandbox)
    chosen = [_metric(resource, name) for name in _names(request, resource)]
    start, end, grain = _window(request, sandbox)
    split = _FILTER.findall(request.query.get("$filter", ""))
    sandbox.telemetry.flush()
    values = []
    for metric in chosen:
        _check(metric, request, split)
        rows = await asyncio.to_thread(_rows, sandbox, metric, resource, start, end)
        values.append(_value(metric, resource, request, _series(metric, rows, split, (start, end, grain))))
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


def _resource(request: Request, sandbox: Sandbox) -> Resource:
    found = sandbox.store.get(request.parameters["scope"])
    if found is None or found.kind not in OFFERED:
        raise ArmError.not_found("resource", "/" + request.parameters["scope"])
    return found


def _names(request: Request, resource: Resource) -> list[str]:
    sent = request.query.get("metricnames", "")
    return [name for name in sent.split(",") if name] or [OFFERED[resource.kind][0].name]


def _metric(resource: Resource, name: str) -> Metric:
    offered = {metric.name.lower(): metric for metric in OFFERED[resource.kind]}
    if name.lower() not in offered:
        valid = ",".join(metric.name for metric in offered.values())
        raise ArmError.bad_request(
            "Failed to find metric configuration for provider: Microsoft.MachineLearningServices, resource Type: "
            f"{ids.resource_type(resource.id).split('/', 1)[1]}, metric: {name}, Valid metrics: {valid}"
        )
    return offered[name.lower()]


def _check(metric: Metric, request: Request, split: list[tuple[str, str, str]]) -> None:
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


def _window(request: Request, sandbox: Sandbox) -> tuple[int, int, int]:
    """Return start, end and grain; the end is that of the last complete, ingested minute."""
    latest = now_us() - round(sandbox.settings.metrics_delay_s * MICROSECONDS)
    try:
        first, _, last = request.query.get("timespan", "").partition("/")
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


def _rows(sandbox: Sandbox, metric: Metric, resource: Resource, start: int, end: int) -> list[Row]:
    """Read the rows that a metric is made of; runs in a thread."""
    if not metric.source or end <= start:
        return []
    if metric.source == "samples":
        sql = (
            "SELECT at_us, instance, cpu_percent, memory_percent, disk_percent, capacity FROM samples "
            "WHERE deployment=?"
        )
        arguments: tuple[Any, ...] = (resource.key,)
    else:
        sql = (
            "SELECT at_us, deployment, code, model_code, total_ms, request_bytes, response_bytes FROM requests "
            "WHERE endpoint=?"
        )
        arguments = (resource.key,)
        if resource.kind == "deployments":
            sql, arguments = sql + " AND deployment=?", (ids.key(ids.parent(resource.id)), resource.name.lower())
    with closing(sandbox.telemetry.reader()) as connection:
        cursor = connection.execute(sql + " AND at_us >= ? AND at_us < ? ORDER BY at_us", (*arguments, start, end))
        names = [column[0] for column in cursor.description]
        return [_dimensions(dict(zip(names, row, strict=True))) for row in cursor]


def _dimensions(row: Row) -> Row:
    if "code" in row:
        code = str(row["code"])
        row |= {"statusCode": code, "envoy_response_code": code, "statusCodeClass": f"{code[0]}xx"}
        row["modelStatusCode"] = "" if row["model_code"] is None else str(row["model_code"])
    else:
        row |= {"instanceId": row["instance"], "disk": "/", "State": "Healthy"}
    return row


def _series(
    metric: Metric, rows: list[Row], split: list[tuple[str, str, str]], window: tuple[int, int, int]
) -> list[tuple[dict[str, str], list[Row]]]:
    """Group rows by the dimensions named in $filter; each group's points in time."""
    proper = {name.lower(): name for name in metric.dimensions}
    names = list(dict.fromkeys(proper[name.lower()] for name, _, _ in split))
    conditions = [(proper[field.lower()], sign.lower(), value.lower()) for field, sign, value in split]
    groups: dict[tuple[str, ...], list[Row]] = {} if names else {(): []}
    for row in rows:
        key = tuple(str(row[name]) for name in names)
        if all(_wanted(name, value.lower(), conditions) for name, value in zip(names, key, strict=True)):
            groups.setdefault(key, []).append(row)
    return [
        (dict(zip(names, key, strict=True)), _points(metric, found, window))
        for key, found in sorted(groups.items())
    ]


def _wanted(name: str, value: str, conditions: list[tuple[str, str, str]]) -> bool:
    """Answer whether a dimension's value passes $filter: any `eq` of it (or `*`), and every `ne`."""
    equal = [given for field, sign, given in conditions if field == name and sign == "eq"]
    unequal = [given for field, sign, given in conditions if field == name and sign == "ne"]
    return value not in unequal and (not equal or "*" in equal or value in equal)


def _points(metric: Metric, rows: list[Row], window: tuple[int, int, int]) -> list[Row]:
    start, end, grain = window
    minutes: dict[int, list[Row]] = {}
    for row in rows:
        minutes.setdefault(row["at_us"] - row["at_us"] % MINUTE, []).append(row)
    reduced = {at: metric.reduce(found) for at, found in minutes.items()}
    points = []
    for at in range(start, end, grain):
        inside = [reduced[minute] for minute in range(at, min(at + grain, end), MINUTE) if minute in reduced]
        points.append({"timeStamp": _short(at), **_merge(inside)})
    return points


def _merge(points: list[Point]) -> Point:
    """Join the minutes of one longer interval; of none, nothing."""
    if not points:
        return {}
    merged = {"average": sum(point["average"] for point in points) / len(points)}
    if "minimum" in points[0]:
        merged["minimum"] = min(point["minimum"] for point in points)
        merged["maximum"] = max(point["maximum"] for point in points)
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
