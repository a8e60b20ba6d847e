"""Handlers: the status of metric alerts, and the alerts that they raised (Microsoft.AlertsManagement)."""

import base64
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import page
from opslib.sandbox.arm.routing import ANY_SCOPE, GROUP, INSIGHTS, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import MICROSECONDS, iso, iso_now, now_us, parse_iso_us
from opslib.sandbox.core.context import Backend
from opslib.sandbox.insights.alerts.alerter import FIRED, read_status
from opslib.sandbox.insights.stored_rules import ALERTS, find_rule

_RANGES_S = {"1h": 3600, "1d": 86400, "7d": 7 * 86400, "30d": 30 * 86400}
_STATES = ("New", "Acknowledged", "Closed")
_FILTERS = (
    "targetResource",
    "targetResourceType",
    "targetResourceGroup",
    "monitorService",
    "monitorCondition",
    "severity",
    "alertState",
    "alertRule",
)


def list_statuses(request: Request, sandbox: Backend) -> Response:
    """`GET .../metricAlerts/{name}/status[/{status}]`: Healthy or Unhealthy, for each series last evaluated."""
    rule = find_rule(request, sandbox, ALERTS)
    wanted = request.parameters.get("status")
    rows = []
    for labels, (standing, _) in read_status(rule).items():
        dimensions = {"resourceId": str(rule.properties["scopes"][0]), **dict(labels)}
        name_of = "&".join(f"{name}={value}" for name, value in dimensions.items())
        row = {
            "id": rule.id,
            "name": base64.urlsafe_b64encode(name_of.encode()).decode(),
            "type": f"Microsoft.Insights/{ALERTS}/status",
            "properties": {
                "dimensions": dimensions,
                "status": "Unhealthy" if standing.fired else "Healthy",
                "timestamp": iso(rule.internal["checked_us"]),
            },
        }
        rows += [row] if wanted in (None, row["name"]) else []
    return Response(200, {"value": rows})


def list_alerts(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/providers/Microsoft.AlertsManagement/alerts`: of the last day, or of `timeRange`; newest first.

    The filters are those of the REST reference, "Alerts - Get All".
    """
    text = request.query.get("timeRange") or "1d"
    if text not in _RANGES_S:
        raise ArmError.bad_request(f"The timeRange must be one of {', '.join(_RANGES_S)}; got '{text}'.")
    since = now_us() - _RANGES_S[text] * MICROSECONDS
    found = [
        alert
        for alert in sandbox.store.all(FIRED)[::-1]
        if _within(alert, request)
        and parse_iso_us(alert.properties["essentials"]["startDateTime"]) >= since
        and _matches(alert.properties["essentials"], request)
    ]
    if request.query.get("sortOrder", "desc").lower() == "asc":
        found.reverse()
    return page(request, [_render(alert) for alert in found], "pageCount")


def get_alert(request: Request, sandbox: Backend) -> Response:
    """`GET {scope}/providers/Microsoft.AlertsManagement/alerts/{alert}`."""
    return Response(200, _render(_find(request, sandbox)))


def change_state(request: Request, sandbox: Backend) -> Response:
    """`POST .../alerts/{alert}/changestate`: the state that a person sets; the condition is independent of it."""
    alert, state = _find(request, sandbox), request.query.get("newState", "")
    if state not in _STATES:
        raise ArmError.bad_request(f"The newState must be one of {', '.join(_STATES)}; got '{state}'.")
    who = request.caller.name if request.caller is not None else ""
    changes = {"alertState": state, "lastModifiedDateTime": iso_now(), "lastModifiedUserName": who}
    stored = alert.with_properties(essentials=alert.properties["essentials"] | changes)
    return Response(200, _render(sandbox.store.put(stored)))


def _find(request: Request, sandbox: Backend) -> Resource:
    for alert in sandbox.store.all(FIRED):
        if alert.name.lower() == request.parameters["alert"].lower() and _within(alert, request):
            return alert
    raise ArmError.not_found("alert", request.parameters["alert"])


def _within(alert: Resource, request: Request) -> bool:
    """Return whether an alert's target is the scope or lies below it."""
    scope, target = ids.key(request.parameters["scope"]), alert.properties["essentials"]["targetResource"]
    return bool(target == scope or target.startswith(scope + "/"))


def _matches(essentials: dict[str, Any], request: Request) -> bool:
    wanted = {name: request.query[name].lower() for name in _FILTERS if request.query.get(name)}
    return all(str(essentials[name]).lower() == value for name, value in wanted.items())


def _render(alert: Resource) -> dict[str, Any]:
    return {
        "id": alert.id,
        "name": alert.body["rule"],
        "type": "Microsoft.AlertsManagement/alerts",
        "properties": {"egressConfig": {}, **alert.properties},
    }


_STATUS = GROUP + INSIGHTS + "/metricAlerts/{name}/status"
_MANAGEMENT = ANY_SCOPE + "/providers/Microsoft.AlertsManagement"
ROUTES = (
    Route("GET", _STATUS, "MetricAlertsStatus_List", list_statuses),
    Route("GET", _STATUS + "/{status}", "MetricAlertsStatus_ListByName", list_statuses),
    Route("GET", _MANAGEMENT + "/alerts", "Alerts_GetAll", list_alerts),
    Route("GET", _MANAGEMENT + "/alerts/{alert}", "Alerts_GetById", get_alert),
    Route("GET", _MANAGEMENT + "/alerts/{alert}/history", "Alerts_GetHistory", None),
    Route("POST", _MANAGEMENT + "/alerts/{alert}/changestate", "Alerts_ChangeState", change_state),
    Route("GET", _MANAGEMENT + "/alertsSummary", "Alerts_GetSummary", None),
)
