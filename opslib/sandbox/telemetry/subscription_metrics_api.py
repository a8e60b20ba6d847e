"""Handler: one metric of all endpoints, or all deployments, of a subscription in one region.

Shape: azure-rest-api-specs, monitor stable/2023-10-01, Metrics_ListAtSubscriptionScope and its example
GetMultiResourceMetric.json. A resource without data has no series.
"""

import asyncio
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.routing import INSIGHTS, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.telemetry import metrics_api
from opslib.sandbox.telemetry.series import MINUTE, Condition, Series, find_metric, iso_seconds, read_series

RESOURCE_ID = "Microsoft.ResourceId"
_KINDS = {ids.ENDPOINT_TYPE.lower(): "onlineEndpoints", ids.DEPLOYMENT_TYPE.lower(): "deployments"}


async def list_at_subscription_scope(request: Request, sandbox: Backend) -> Response:
    """`GET SUB/providers/Microsoft.Insights/metrics`: of `region` and `metricnamespace`, a series a resource."""
    namespace, region = request.query.get("metricnamespace", ""), request.query.get("region", "")
    kind = _KINDS.get(namespace.lower())
    if kind is None or not region:
        raise ArmError.bad_request(
            f"Expected region and a metricnamespace of {', '.join(_KINDS)}; got '{region}' and '{namespace}'."
        )
    split = metrics_api.FILTER.findall(request.query.get("$filter", "").replace(RESOURCE_ID, "ResourceId"))
    if not any(name.lower() == "resourceid" for name, _, _ in split):
        raise ArmError.bad_request(f"The $filter must name {RESOURCE_ID}, as in {RESOURCE_ID} eq '*'.")
    dimensions = [condition for condition in split if condition[0].lower() != "resourceid"]
    found = _resources(sandbox, request.parameters["subscription"], kind, region)
    if not found:
        return Response(200, _answer(region, namespace, (0, 0, MINUTE), []))
    window = metrics_api.window_of(request, found[0], sandbox)
    sandbox.telemetry.flush()
    metric = find_metric(found[0], request.query.get("metricnames", ""))
    metrics_api.check(metric, request, dimensions)
    served = await asyncio.to_thread(_served, sandbox, window[0], window[1])
    chosen = [one for one in found if kind == "deployments" or one.key in served]
    series = await asyncio.to_thread(_series, request, sandbox, metric.name, chosen, dimensions, window)
    values = [metrics_api.value_of(metric, f"/subscriptions/{request.parameters['subscription']}", request, series)]
    return Response(200, _answer(region, namespace, window, values))


def _resources(sandbox: Backend, subscription: str, kind: str, region: str) -> list[Resource]:
    wanted = region.lower().replace(" ", "")
    return [
        one
        for one in sandbox.store.all(kind)
        if ids.subscription(one.key) == subscription.lower() and one.body["location"] == wanted
    ]


def _served(sandbox: Backend, since_us: int, until_us: int) -> set[str]:
    """Return the endpoints that had a request: only they have series."""
    sql = "SELECT DISTINCT endpoint FROM requests WHERE at_us >= ? AND at_us < ?"
    with sandbox.telemetry.reader() as connection:
        return {row[0] for row in connection.execute(sql, (since_us, until_us))}


def _series(
    request: Request,
    sandbox: Backend,
    metric: str,
    resources: list[Resource],
    split: list[Condition],
    window: tuple[int, int, int],
) -> list[Series]:
    return [
        ({**labels, RESOURCE_ID: one.id}, points)
        for one in resources
        for found in [read_series(sandbox, find_metric(one, metric), one, split, window)]
        for labels, points in metrics_api.first(found, request)
        if any(len(point) > 1 for point in points)
    ]


def _answer(region: str, namespace: str, window: tuple[int, int, int], values: list[Any]) -> dict[str, Any]:
    start, end, grain = window
    return {
        "cost": 59 * len(values),
        "timespan": f"{iso_seconds(start)}/{iso_seconds(end)}",
        "interval": f"PT{grain // MINUTE}M",
        "namespace": namespace,
        "resourceregion": region,
        "value": values,
    }


ROUTES = (
    Route(
        "GET", SUBSCRIPTION + INSIGHTS + "/metrics", "Metrics_ListAtSubscriptionScope", list_at_subscription_scope
    ),
)
