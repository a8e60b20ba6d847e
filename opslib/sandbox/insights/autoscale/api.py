"""Handlers: autoscale settings."""

import re
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import GROUP, INSIGHTS, RECORDED, SUBSCRIPTION, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.insights.autoscale.rules import read_profiles
from opslib.sandbox.insights.stored_rules import (
    AUTOSCALE,
    address_of,
    check_metric,
    delete_rule,
    find_rule,
    list_rules,
    merge,
    put_rule,
    read_properties,
    render,
)


def list_autoscale(request: Request, sandbox: Backend) -> Response:
    """`GET .../autoscaleSettings` of a group or a subscription."""
    return list_rules(request, sandbox, AUTOSCALE)


def get_autoscale(request: Request, sandbox: Backend) -> Response:
    """`GET .../autoscaleSettings/{name}`."""
    return Response(200, render(find_rule(request, sandbox, AUTOSCALE)))


def put_autoscale(request: Request, sandbox: Backend) -> Response:
    """`PUT .../autoscaleSettings/{name}`: one for each deployment; it acts from now on, if enabled."""
    return _accept(request, sandbox, request.json())


def patch_autoscale(request: Request, sandbox: Backend) -> Response:
    """`PATCH .../autoscaleSettings/{name}`: the properties and tags that are sent, the rest as it was."""
    return _accept(request, sandbox, merge(request, sandbox, AUTOSCALE))


def delete_autoscale(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../autoscaleSettings/{name}`: 204 when absent."""
    return delete_rule(request, sandbox, AUTOSCALE)


def _accept(request: Request, sandbox: Backend, body: dict[str, Any]) -> Response:
    properties = read_properties(body)
    target = sandbox.store.get(str(properties.get("targetResourceUri")))
    if target is None or target.kind != "deployments":
        raise ArmError.bad_request(
            f"The targetResourceUri '{properties.get('targetResourceUri')}' names no online deployment."
        )
    for profile in read_profiles(properties):
        for rule in profile.rules:
            names = {name for name, _, _ in rule.dimensions}
            check_metric(rule.resource or target.id, rule.metric, names, sandbox)
    address = address_of(request, AUTOSCALE)
    for other in sandbox.store.all(AUTOSCALE):
        if ids.key(other.properties["targetResourceUri"]) == target.key and other.key != ids.key(address):
            raise ArmError.conflict(f"Autoscale setting '{other.name}' exists for this target: a target has one.")
    settled = {
        "enabled": True,
        **properties,
        "notifications": [{**one, "operation": "Scale"} for one in properties.get("notifications") or []],
        "profiles": [_settled(profile, target.id) for profile in properties["profiles"]],
        "name": request.parameters["name"],
    }
    return put_rule(request, sandbox, AUTOSCALE, settled, body)


def _settled(profile: dict[str, Any], target_id: str) -> dict[str, Any]:
    """Return a profile with what Azure Monitor fills in (recorded in 2025)."""
    rules = [{**rule, "metricTrigger": _trigger(rule["metricTrigger"], target_id)} for rule in profile["rules"]]
    fixed = profile.get("fixedDate")
    if not fixed:
        return {**profile, "rules": rules}
    clock = {name: _OFFSET.sub("", str(fixed[name])) + "Z" for name in ("start", "end")}
    return {**profile, "rules": rules, "fixedDate": {**fixed, **clock}}


def _trigger(sent: dict[str, Any], target_id: str) -> dict[str, Any]:
    filled = {"metricNamespace": "", "dimensions": None, "dividePerInstance": False}
    settled = {
        "metricResourceUri": sent.get("metricResourceUri") or target_id,
        "threshold": float(sent["threshold"]),
    }
    return {**filled, **sent, **settled}


_OFFSET = re.compile(r"(Z|[+-]\d\d:?\d\d)$")
_SETTINGS = INSIGHTS + "/autoscaleSettings"
ROUTES = (
    Route("GET", GROUP + _SETTINGS, "AutoscaleSettings_ListByResourceGroup", list_autoscale),
    Route("GET", SUBSCRIPTION + _SETTINGS, "AutoscaleSettings_ListBySubscription", list_autoscale),
    Route("GET", GROUP + _SETTINGS + "/{name}", "AutoscaleSettings_Get", get_autoscale),
    Route("PUT", GROUP + _SETTINGS + "/{name}", "AutoscaleSettings_CreateOrUpdate", put_autoscale, known=RECORDED),
    Route("PATCH", GROUP + _SETTINGS + "/{name}", "AutoscaleSettings_Update", patch_autoscale),
    Route("DELETE", GROUP + _SETTINGS + "/{name}", "AutoscaleSettings_Delete", delete_autoscale, known=RECORDED),
)
