"""Handlers: metric alerts."""

from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import GROUP, INSIGHTS, SUBSCRIPTION, Route
from opslib.sandbox.core.clock import iso_now
from opslib.sandbox.core.context import Backend
from opslib.sandbox.insights.alerts.rules import read_alert
from opslib.sandbox.insights.stored_rules import (
    ALERTS,
    check_metric,
    delete_rule,
    find_rule,
    list_rules,
    merge,
    put_rule,
    read_properties,
    render,
)


def list_alerts(request: Request, sandbox: Backend) -> Response:
    """`GET .../metricAlerts` of a group or a subscription."""
    return list_rules(request, sandbox, ALERTS)


def get_alert(request: Request, sandbox: Backend) -> Response:
    """`GET .../metricAlerts/{name}`."""
    return Response(200, render(find_rule(request, sandbox, ALERTS)))


def put_alert(request: Request, sandbox: Backend) -> Response:
    """`PUT .../metricAlerts/{name}`: watches from now on, if enabled; it sends no notification."""
    return _accept(request, sandbox, request.json())


def patch_alert(request: Request, sandbox: Backend) -> Response:
    """`PATCH .../metricAlerts/{name}`: the properties and tags that are sent, the rest as it was."""
    return _accept(request, sandbox, merge(request, sandbox, ALERTS))


def delete_alert(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../metricAlerts/{name}`: 204 when absent."""
    return delete_rule(request, sandbox, ALERTS)


def _accept(request: Request, sandbox: Backend, body: dict[str, Any]) -> Response:
    properties = read_properties(body)
    rule = read_alert(properties)
    for one in rule.criteria:
        metric = check_metric(rule.scope, one.metric, {name for name, _, _ in one.dimensions}, sandbox)
        if one.aggregation not in metric.aggregations:
            raise ArmError.bad_request(
                f"The metric '{metric.name}' has no aggregation {one.aggregation}: "
                f"it has {', '.join(metric.aggregations)}."
            )
    settled = {"autoMitigate": True, "actions": [], **properties, "lastUpdatedTime": iso_now()}
    return put_rule(request, sandbox, ALERTS, settled, body)


_RULES = INSIGHTS + "/metricAlerts"
ROUTES = (
    Route("GET", GROUP + _RULES, "MetricAlerts_ListByResourceGroup", list_alerts),
    Route("GET", SUBSCRIPTION + _RULES, "MetricAlerts_ListBySubscription", list_alerts),
    Route("GET", GROUP + _RULES + "/{name}", "MetricAlerts_Get", get_alert),
    Route("PUT", GROUP + _RULES + "/{name}", "MetricAlerts_CreateOrUpdate", put_alert),
    Route("PATCH", GROUP + _RULES + "/{name}", "MetricAlerts_Update", patch_alert),
    Route("DELETE", GROUP + _RULES + "/{name}", "MetricAlerts_Delete", delete_alert),
)
