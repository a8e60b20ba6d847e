"""Handlers: online endpoints, their keys and tokens."""

import secrets
import uuid
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import IDENTITY_SECRET, TENANT_ID, assigned_identity
from opslib.sandbox.arm.responses import accepted, page, status_url, system_data, written
from opslib.sandbox.arm.routing import ENDPOINT, WORKSPACE, Route
from opslib.sandbox.arm.store import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Sandbox
from opslib.sandbox.core.settings import LIMITS
from opslib.sandbox.endpoints import validation
from opslib.sandbox.endpoints.identity_roles import grant_artifacts
from opslib.sandbox.endpoints.lifecycle import Kind

KIND = "onlineEndpoints"
_ORDERS = {
    "createdatdesc": ("createdAt", True),
    "createdatasc": ("createdAt", False),
    "updatedatdesc": ("lastModifiedAt", True),
    "updatedatasc": ("lastModifiedAt", False),
}


def find(request: Request, sandbox: Sandbox) -> Resource:
    """Return the endpoint that a route names."""
    endpoint = sandbox.store.get(ids.endpoint_id(request.parameters))
    if endpoint is None:
        raise ArmError.not_found("online endpoint", request.parameters["endpoint"])
    return endpoint


def render(endpoint: Resource, base: str) -> dict[str, Any]:
    """Return the endpoint as ARM shows it; addresses are made on reading, since the port may change."""
    location = endpoint.body["location"]
    scoring = f"{base}/inference/{location}/{endpoint.name}"
    properties = {
        **endpoint.properties,
        "scoringUri": f"{scoring}/score",
        "swaggerUri": f"{scoring}/swagger.json",
        "properties": {
            **(endpoint.properties.get("properties") or {}),
            "azureml.onlineendpointid": endpoint.key,
            "AzureAsyncOperationUri": status_url(base, endpoint.internal["operation"], endpoint.id, location),
        },
    }
    return {
        "id": endpoint.id,
        "name": endpoint.name,
        "type": ids.ENDPOINT_TYPE,
        **endpoint.body,
        "properties": properties,
    }


def list_endpoints(request: Request, sandbox: Sandbox) -> Response:
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
        found = sorted(found, key=lambda one: str(one.body["systemData"][order[0]]), reverse=order[1])
    return page(request, [render(sandbox.read_lag.shown(one), sandbox.base_url) for one in found], "count")


def get_endpoint(request: Request, sandbox: Sandbox) -> Response:
    """`GET .../onlineEndpoints/{endpoint}`."""
    return Response(200, render(sandbox.read_lag.shown(find(request, sandbox)), sandbox.base_url))


def put_endpoint(request: Request, sandbox: Sandbox) -> Response:
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
    return written(request, operation, _location(body), render(stored, sandbox.base_url), new=before is None)


def patch_endpoint(request: Request, sandbox: Sandbox) -> Response:
    """`PATCH .../onlineEndpoints/{endpoint}`: tags and identity only."""
    endpoint, body = find(request, sandbox), request.json()
    if unknown := set(body) - {"tags", "identity"}:
        raise ArmError.bad_request(
            f"An endpoint's PATCH takes tags and identity only, got {sorted(unknown)}: use PUT."
        )
    validation.check_shapes(body)
    sandbox.lifecycle.require_settled(endpoint, "update endpoint")
    changed = {**endpoint.body, "systemData": system_data(request, endpoint)}
    changed["tags"] = {**endpoint.body["tags"], **(body.get("tags") or {})}
    if "identity" in body:
        changed["identity"] = _identity(body["identity"], endpoint.body.get("identity"))
    _, operation = sandbox.lifecycle.begin(Kind.UPDATE, replace(endpoint, body=changed))
    return accepted(request, operation, endpoint.body["location"])


def delete_endpoint(request: Request, sandbox: Sandbox) -> Response:
    """`DELETE .../onlineEndpoints/{endpoint}`: with its deployments, traffic or not; 204 when absent."""
    endpoint = sandbox.store.get(ids.endpoint_id(request.parameters))
    if endpoint is None:
        return Response(204)
    sandbox.lifecycle.require_settled(endpoint, "delete endpoint")
    for deployment in sandbox.store.children(endpoint.id, "deployments"):
        sandbox.lifecycle.require_settled(deployment, f"delete endpoint {endpoint.name} with deployment")
    _, operation = sandbox.lifecycle.begin(Kind.DELETE, endpoint)
    return accepted(request, operation, endpoint.body["location"])


def list_keys(request: Request, sandbox: Sandbox) -> Response:
    """`POST .../listKeys`; an endpoint without keys refuses in the sandbox's own wording."""
    endpoint = _with_mode(request, sandbox, ("Key",), "listKeys")
    keys = endpoint.secrets
    return Response(200, {"primaryKey": keys["primaryKey"], "secondaryKey": keys["secondaryKey"]})


def regenerate_keys(request: Request, sandbox: Sandbox) -> Response:
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


def get_token(request: Request, sandbox: Sandbox) -> Response:
    """`POST .../token`: a token for scoring, with Azure's integer times."""
    endpoint = _with_mode(request, sandbox, ("AMLToken",), "token")
    lifetime_s = sandbox.settings.token_lifetime_s
    issued = sandbox.tokens.issue(
        endpoint.key, {"sub": request.caller.object_id if request.caller else ""}, lifetime_s
    )
    answer = {
        "accessToken": issued.token,
        "expiryTimeUtc": issued.expires_at,
        "refreshAfterTimeUtc": issued.expires_at - int(lifetime_s / 2),
        "tokenType": "Bearer",
    }
    return Response(200, answer)


def _with_mode(request: Request, sandbox: Sandbox, modes: tuple[str, ...], operation: str) -> Resource:
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
        "sku": None,
        "identity": _identity(body.get("identity"), before.body.get("identity") if before is not None else None),
        "systemData": system_data(request, before),
        "properties": properties,
    }


def _identity(sent: dict[str, Any] | None, before: dict[str, Any] | None) -> dict[str, Any]:
    kind = (sent or {}).get("type", "SystemAssigned")
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


def _check_region(sandbox: Sandbox, resource_id: str, location: str) -> None:
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
    Route("GET", WORKSPACE + "/onlineEndpoints", "OnlineEndpoints_List", list_endpoints),
    Route("GET", ENDPOINT, "OnlineEndpoints_Get", get_endpoint),
    Route("PUT", ENDPOINT, "OnlineEndpoints_CreateOrUpdate", put_endpoint),
    Route("PATCH", ENDPOINT, "OnlineEndpoints_Update", patch_endpoint),
    Route("DELETE", ENDPOINT, "OnlineEndpoints_Delete", delete_endpoint),
    Route("POST", ENDPOINT + "/listKeys", "OnlineEndpoints_ListKeys", list_keys),
    Route("POST", ENDPOINT + "/regenerateKeys", "OnlineEndpoints_RegenerateKeys", regenerate_keys),
    Route("POST", ENDPOINT + "/token", "OnlineEndpoints_GetToken", get_token),
)
