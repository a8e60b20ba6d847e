# ruff: noqa: S608 - SQL is made of the metric catalog's own columns
"""A metric's series, minute by minute, computed from what was served."""

from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, now_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry.metric_catalog import DIMENSIONS, OFFERED, Metric

MINUTE = 60 * MICROSECONDS

Row = dict[str, Any]
Point = dict[str, float | None]
Condition = tuple[str, str, str]  # dimension, eq or ne, value
Series = tuple[dict[str, str], list[Row]]  # labels, points
Window = tuple[int, int, int]  # start, end, grain [microseconds]


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


def latest_us(resource: Resource, sandbox: Backend) -> int:
    """Return until when a resource's metrics can be read [microseconds since the epoch]."""
    delay_s = sandbox.settings.metrics_delay_s + sandbox.faults.metrics_delay_s(*_names_of(resource))
    return now_us() - round(delay_s * MICROSECONDS)


def read_series(
    sandbox: Backend, metric: Metric, resource: Resource, split: list[Condition], window: Window
) -> list[Series]:
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
    sandbox: Backend, metric: Metric, resource: Resource, names: list[str], window: Window
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
    with sandbox.telemetry.reader() as connection:
        return connection.execute(sql, (*arguments, window[0], window[1])).fetchall()


def _wanted(name: str, value: str, conditions: list[Condition]) -> bool:
    """Return whether a dimension's value passes $filter: any `eq` of it (or `*`), and every `ne`."""
    equal = [given for field, sign, given in conditions if field == name and sign == "eq"]
    unequal = [given for field, sign, given in conditions if field == name and sign == "ne"]
    return value not in unequal and (not equal or "*" in equal or value in equal)


def _points(minutes: dict[int, Point], window: Window) -> list[Row]:
    start, end, grain = window
    points = []
    for at in range(start, end, grain):
        inside = [minutes[minute] for minute in range(at, min(at + grain, end), MINUTE) if minute in minutes]
        points.append({"timeStamp": iso_seconds(at), **_merge(inside)})
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


def iso_seconds(at_us: int) -> str:
    """Write a time to the second."""
    return iso(at_us)[:19] + "Z"


def _names_of(resource: Resource) -> tuple[str, str]:
    """Return the names of an endpoint and, if it is one, a deployment."""
    if resource.kind == "deployments":
        return ids.name(ids.parent(resource.id)), resource.name
    return resource.name, ""
