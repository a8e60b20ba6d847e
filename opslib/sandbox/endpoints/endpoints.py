"""Handlers: online endpoints, their keys and tokens."""

import secrets
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.api_versions import is_first
from opslib.sandbox.arm.envelope import check_objects
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.operation_urls import operation_url
from opslib.sandbox.arm.principals import IDENTITY_SECRET, TENANT_ID, assigned_identity
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import accepted, page, short_system_data, written
from opslib.sandbox.arm.routing import ASSUMED, ENDPOINT, RECORDED, WORKSPACE, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import LIMITS
from opslib.sandbox.endpoints import validation
from opslib.sandbox.endpoints.identity_roles import grant_artifacts
from opslib.sandbox.endpoints.lifecycle import Kind

KIND = "onlineEndpoints"
_ORDERS: dict[str, tuple[Callable[[Resource], Any], bool]] = {
    "createdatdesc": (lambda one: one.sequence, True),
    "createdatasc": (lambda one: one.sequence, False),
    "updatedatdesc": (lambda one: one.internal.get("changed_us", 0), True),
    "updatedatasc": (lambda one: one.internal.get("changed_us", 0), False),
}


def find(request: Request, sandbox: Backend) -> Resource:
    """Return the endpoint that a route names."""
    endpoint = sandbox.store.get(ids.endpoint_id(request.parameters))
    if endpoint is None:
        raise ArmError.not_found("online endpoint", request.parameters["endpoint"])
    return endpoint


def render(endpoint: Resource, request: Request, base: str) -> dict[str, Any]:
    """Return the endpoint as ARM shows it, without addresses while it is created.

    Addresses are made on reading, since the port of `base` may change.
    """
    location = endpoint.body["location"]
    scoring = f"{base}/inference/{location}/{endpoint.name}"
    path = str(endpoint.internal.get("scoring_path", "/score"))
    creating = endpoint.state == Kind.CREATE
    operation = operation_url(request, endpoint.internal["operation"], endpoint.id, location)
    properties = {
        **endpoint.properties,
        "scoringUri": None if creating else scoring + path,
        "swaggerUri": None if creating else f"{scoring}/swagger.json",
        "properties": {
            **(endpoint.properties.get("properties") or {}),
            "azureml.onlineendpointid": endpoint.key,
            "AzureAsyncOperationUri": operation,
        },
    }
    head = {"id": endpoint.id, "name": endpoint.name, "type": ids.ENDPOINT_TYPE}
    return {**head, **endpoint.body, "properties": properties}


def _put_answer(endpoint: Resource, before: Resource | None, request: Request, base: str) -> dict[str, Any]:
    """Return the body that answers a PUT.

    An update shows the traffic as it was before it (recorded in 2022). Later api-versions show of an update only
    what was sent, in state Creating, without location, identity, system data and addresses (recorded in 2024).
    """
    shown = render(endpoint, request, base)
    if before is None:
        return shown
    earlier = {field: before.properties[field] for field in ("traffic", "mirrorTraffic")}
    shown["properties"] |= earlier
    if is_first(request):
        return shown
    own = {"AzureAsyncOperationUri": shown["properties"]["properties"]["AzureAsyncOperationUri"]}
    later = {"properties": own, "provisioningState": Kind.CREATE.value, "scoringUri": None, "swaggerUri": None}
    kept = {key: value for key, value in shown.items() if key not in ("location", "identity")}
    return {**kept, "systemData": {}, "properties": {**shown["properties"], **later}}


def list_endpoints(request: Request, sandbox: Backend) -> Response:
    """`GET W/onlineEndpoints`."""
    found = sandbox.store.children(ids.workspace_id(request.parameters), KIND)
    if name := request.query.get("name"):
        found = [one for one in found if one.name.lower() == name.lower()]
    for pair in filter(None, request.query.get("tags", "").split(",")):
        key, _, value = pair.partition("=")
        found = [
            one for one in found if one.body["tags"].get(key) is not None and value in ("", one.body["tags"][key])
        ]
    order = _ORDERS.get(request.query.get("orderBy", "").lower())
    if order is not None:
        found = sorted(found, key=order[0], reverse=order[1])
    return page(request, [render(sandbox.read_lag.shown(one), request, sandbox.base_url) for one in found], "count")


def get_endpoint(request: Request, sandbox: Backend) -> Response:
    """`GET .../onlineEndpoints/{endpoint}`."""
    return Response(200, render(sandbox.read_lag.shown(find(request, sandbox)), request, sandbox.base_url))


def put_endpoint(request: Request, sandbox: Backend) -> Response:
    """`PUT .../onlineEndpoints/{endpoint}`: a full replace."""
    body, resource_id = request.json(), ids.endpoint_id(request.parameters)
    before = sandbox.store.get(resource_id)
    if before is not None:
        sandbox.lifecycle.require_settled(before, "update endpoint")
        resource_id = before.id
    else:
        validation.check_name("Endpoint", request.parameters["endpoint"])
    deployments = {one.name.lower() for one in sandbox.store.children(resource_id, "deployments")}
    validation.check_endpoint(body, before.body if before is not None else None, deployments)
    if before is None:
        _check_region(sandbox, resource_id, _location(body))
    written_body = _body(request, body, before)
    endpoint = (
        Resource(resource_id, KIND, written_body, _keys(body))
        if before is None
        else replace(before, body=written_body)
    )
    sandbox.read_lag.note(before)
    stored, operation = sandbox.lifecycle.begin(Kind.CREATE if before is None else Kind.UPDATE, endpoint)
    if before is None:
        grant_artifacts(stored, request.caller, sandbox)
    return written(request, operation, _location(body), _put_answer(stored, before, request, sandbox.base_url))


def patch_endpoint(request: Request, sandbox: Backend) -> Response:
    """`PATCH .../onlineEndpoints/{endpoint}`: tags and identity only."""
    endpoint, body = find(request, sandbox), request.json()
    if unknown := set(body) - {"tags", "identity"}:
        raise ArmError.bad_request(
            f"An endpoint's PATCH takes tags and identity only, got {sorted(unknown)}: use PUT."
        )
    sandbox.lifecycle.require_settled(endpoint, "update endpoint")
    changed = dict(endpoint.body)
    changed["tags"] = {**endpoint.body["tags"], **(body.get("tags") or {})}
    if "identity" in body:
        changed["identity"] = _identity(body["identity"], endpoint.body.get("identity"))
    _, operation = sandbox.lifecycle.begin(Kind.UPDATE, replace(endpoint, body=changed))
    return accepted(request, operation, endpoint.body["location"])


def delete_endpoint(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../onlineEndpoints/{endpoint}`: with its deployments, traffic or not; 204 when absent."""
    endpoint = sandbox.store.get(ids.endpoint_id(request.parameters))
    if endpoint is None:
        return Response(204)
    sandbox.lifecycle.require_settled(endpoint, "delete endpoint")
    for deployment in sandbox.store.children(endpoint.id, "deployments"):
        sandbox.lifecycle.require_settled(deployment, f"delete endpoint {endpoint.name} with deployment")
    _, operation = sandbox.lifecycle.begin(Kind.DELETE, endpoint)
    return accepted(request, operation, endpoint.body["location"], b"null")


def list_keys(request: Request, sandbox: Backend) -> Response:
    """`POST .../listKeys`: null for an endpoint without keys."""
    endpoint = find(request, sandbox)
    if endpoint.properties["authMode"] != "Key":
        return Response(200, {"primaryKey": None, "secondaryKey": None})
    keys = endpoint.secrets
    return Response(200, {"primaryKey": keys["primaryKey"], "secondaryKey": keys["secondaryKey"]})


def regenerate_keys(request: Request, sandbox: Backend) -> Response:
    """`POST .../regenerateKeys`: to `keyValue` if one is sent, else to a fresh key."""
    endpoint, body = _with_mode(request, sandbox, ("Key",), "regenerateKeys"), request.json()
    kind = str(body.get("keyType"))
    if kind not in ("Primary", "Secondary"):
        raise ArmError.validation("KeyType", f"KeyType must be Primary or Secondary, got {kind!r}.")
    sandbox.lifecycle.require_settled(endpoint, "regenerate keys of endpoint")
    value = str(body.get("keyValue") or _key())
    changed = replace(endpoint, secrets={**endpoint.secrets, f"{kind.lower()}Key": value})
    _, operation = sandbox.lifecycle.begin(Kind.UPDATE, changed)
    return accepted(request, operation, endpoint.body["location"])


def get_token(request: Request, sandbox: Backend) -> Response:
    """`POST .../token`: a token for scoring, with Azure's integer times."""
    endpoint = _with_mode(request, sandbox, ("AMLToken",), "token")
    lifetime_s = sandbox.settings.scoring_token_lifetime_s
    caller = request.caller.object_id if request.caller else ""
    issued = sandbox.tokens.issue_for_scoring(endpoint.key, caller, lifetime_s)
    answer = {
        "accessToken": issued.token,
        "expiryTimeUtc": issued.expires_at,
        "refreshAfterTimeUtc": issued.expires_at - int(lifetime_s / 2),
        "tokenType": "Bearer",
    }
    return Response(200, answer)


def _with_mode(request: Request, sandbox: Backend, modes: tuple[str, ...], operation: str) -> Resource:
    endpoint = find(request, sandbox)
    mode = endpoint.properties["authMode"]
    if mode not in modes:
        raise ArmError.validation(
            "AuthMode", f"{operation} is not possible for endpoint '{endpoint.name}', whose authMode is {mode}."
        )
    return endpoint


def _location(body: dict[str, Any]) -> str:
    return str(body["location"]).lower().replace(" ", "")


def _body(request: Request, body: dict[str, Any], before: Resource | None) -> dict[str, Any]:
    sent = body["properties"]
    properties = {
        "authMode": sent["authMode"],
        "description": sent.get("description"),
        "properties": {
            key: value
            for key, value in (sent.get("properties") or {}).items()
            if key not in ("azureml.onlineendpointid", "AzureAsyncOperationUri")
        },
        "compute": sent.get("compute"),
        "traffic": sent.get("traffic") or {},
        "mirrorTraffic": sent.get("mirrorTraffic") or {},
        "publicNetworkAccess": str(sent.get("publicNetworkAccess") or "Enabled").capitalize(),
    }
    return {
        "location": _location(body),
        "tags": body.get("tags") or {},
        "kind": "Managed",
        "identity": _identity(body.get("identity"), before.body.get("identity") if before is not None else None),
        "systemData": short_system_data(request, before),
        "properties": properties,
    }


def _identity(sent: dict[str, Any] | None, before: dict[str, Any] | None) -> dict[str, Any]:
    kind = _identity_type((sent or {}).get("type") or "SystemAssigned")
    check_objects(sent or {}, ("userAssignedIdentities",))
    identity: dict[str, Any] = {"type": kind}
    if "SystemAssigned" in kind:
        identity["principalId"] = (before or {}).get("principalId") or str(uuid.uuid4())
        identity["tenantId"] = TENANT_ID
    if "UserAssigned" in kind:
        identity["userAssignedIdentities"] = {
            name: {"principalId": (who := assigned_identity(name)).object_id, "clientId": who.client_id}
            for name in (sent or {}).get("userAssignedIdentities") or {}
        }
    return identity


def _identity_type(sent: Any) -> str:
    """Return an identity's type in ARM's spelling; like every value of an enumeration it is read in any case."""
    known = {one.lower(): one for one in ("None", "SystemAssigned", "UserAssigned")}
    words = [known.get(word.strip().lower()) for word in str(sent).split(",")]
    if None in words:
        raise ArmError.validation(
            "Identity", f"The identity's type must be None, SystemAssigned, UserAssigned or both, got {sent!r}."
        )
    return ",".join(word for word in words if word is not None)


def _check_region(sandbox: Backend, resource_id: str, location: str) -> None:
    """Refuse a name taken in the region, in the words of Azure/azureml-examples#1930."""
    here = [one for one in sandbox.store.all(KIND) if one.body["location"] == location]
    if any(one.name.lower() == ids.name(resource_id).lower() for one in here):
        raise ArmError.validation(
            "",
            "There is already an endpoint with this name, Endpoint name needs to be unique within a region. "
            "Try some other name.",
        )
    mine = [one for one in here if ids.subscription(one.key) == ids.subscription(resource_id).lower()]
    if len(mine) >= LIMITS.endpoints_per_region:
        raise ArmError.validation(
            "EndpointLimit",
            f"Endpoint limit of {LIMITS.endpoints_per_region} per subscription and region is reached.",
        )


def _keys(body: dict[str, Any]) -> dict[str, str]:
    sent = body["properties"].get("keys") or {}
    return {
        "primaryKey": str(sent.get("primaryKey") or _key()),
        "secondaryKey": str(sent.get("secondaryKey") or _key()),
        IDENTITY_SECRET: _key(),
    }


def _key() -> str:
    return secrets.token_urlsafe(24)


ROUTES = (
    Route("GET", WORKSPACE + "/onlineEndpoints", "OnlineEndpoints_List", list_endpoints, known=RECORDED),
    Route("GET", ENDPOINT, "OnlineEndpoints_Get", get_endpoint, known=RECORDED),
    Route("PUT", ENDPOINT, "OnlineEndpoints_CreateOrUpdate", put_endpoint, known=RECORDED),
    Route("PATCH", ENDPOINT, "OnlineEndpoints_Update", patch_endpoint, known=ASSUMED),
    Route("DELETE", ENDPOINT, "OnlineEndpoints_Delete", delete_endpoint, known=RECORDED),
    Route("POST", ENDPOINT + "/listKeys", "OnlineEndpoints_ListKeys", list_keys, known=RECORDED),
    Route("POST", ENDPOINT + "/regenerateKeys", "OnlineEndpoints_RegenerateKeys", regenerate_keys, known=ASSUMED),
    Route("POST", ENDPOINT + "/token", "OnlineEndpoints_GetToken", get_token, known=RECORDED),
)
