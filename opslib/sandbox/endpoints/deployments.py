"""Handlers: online deployments."""

from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.api_versions import ASSETS_OF_2023, is_first, since
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.operation_urls import operation_url
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import accepted, page, short_system_data, written
from opslib.sandbox.arm.routing import ASSUMED, ENDPOINT, RECORDED, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import LIMITS
from opslib.sandbox.endpoints import endpoints, quota, validation
from opslib.sandbox.endpoints.lifecycle import Kind
from opslib.sandbox.instances import resolution
from opslib.sandbox.instances.payload import OWN_VARIABLES
from opslib.sandbox.instances.references import as_reference

KIND = "deployments"
_PROBE = {
    "failureThreshold": 30,
    "successThreshold": 1,
    "timeout": "PT2S",
    "period": "PT10S",
    "initialDelay": "PT10S",
}
_REQUESTS = {"requestTimeout": "PT5S", "maxConcurrentRequestsPerInstance": 1, "maxQueueWait": "PT0S"}
_WRITES_LEFT = {"x-ms-ratelimit-remaining-subscription-resource-requests": "24"}
_SCALED_TYPE = "Microsoft.MachineLearning.Services/endpoints/deployments"
_CONTAINERS = ("InferenceServer", "StorageInitializer")
MAX_LOG_LINES = 5000


def render(deployment: Resource, request: Request, location: str) -> dict[str, Any]:
    """Return the deployment as ARM shows it; the variables that the service sets appear after its creation."""
    operation = operation_url(request, deployment.internal["operation"], deployment.id, location)
    variables = {} if deployment.state == Kind.CREATE else deployment.internal.get("variables", {})
    properties: dict[str, Any] = {
        "modelMountPath": None,
        **({"dataCollector": None} if since(request, ASSETS_OF_2023) else {}),
        **({"privateNetworkConnection": False} if is_first(request) else {}),
        **deployment.properties,
        "environmentVariables": {**variables, **deployment.properties["environmentVariables"]},
        "properties": {**(deployment.properties.get("properties") or {}), "AzureAsyncOperationUri": operation},
    }
    head = {"id": deployment.id, "name": deployment.name, "type": ids.DEPLOYMENT_TYPE}
    return {**head, **deployment.body, "properties": properties}


def _put_answer(
    deployment: Resource, before: Resource | None, sent: dict[str, Any], request: Request, location: str
) -> dict[str, Any]:
    """Return the body that answers a PUT.

    The first api-version showed a new deployment in state Updating, without the defaults of probes and timeout
    (recorded in 2022). An update is shown in state Creating, without instance type and times of the creation
    (recorded in 2025).
    """
    shown = render(deployment, request, location)
    properties = shown["properties"]
    if before is not None:
        changed = {"provisioningState": Kind.CREATE.value, "instanceType": None}
        times = {"lastModifiedAt": shown["systemData"]["lastModifiedAt"]}
        return {**shown, "systemData": times, "properties": {**properties, **changed}}
    if not is_first(request):
        return shown
    late = {name: sent.get(name) for name in ("livenessProbe", "readinessProbe")}
    timeout = (sent.get("requestSettings") or {}).get("requestTimeout") or "PT0S"
    settings = {**properties["requestSettings"], "requestTimeout": timeout}
    shown_first = {"provisioningState": Kind.UPDATE.value, "requestSettings": settings, **late}
    return {**shown, "properties": {**properties, **shown_first}}


def list_deployments(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments`."""
    endpoint = endpoints.find(request, sandbox)
    found = sandbox.store.children(endpoint.id, KIND)
    return page(request, [render(one, request, endpoint.body["location"]) for one in found], "$top")


def get_deployment(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{deployment}`."""
    endpoint, deployment = _find(request, sandbox)
    return Response(200, render(deployment, request, endpoint.body["location"]))


def put_deployment(request: Request, sandbox: Backend) -> Response:
    """`PUT .../deployments/{deployment}`: create, or update in place."""
    endpoint, body = endpoints.find(request, sandbox), request.json()
    before = sandbox.store.get(ids.deployment_id(request.parameters))
    verb = "create a deployment in endpoint" if before is None else "update a deployment in endpoint"
    sandbox.lifecycle.require_settled(endpoint, verb)
    if before is None:
        validation.check_name("Deployment", request.parameters["deployment"])
        check_count(sandbox, endpoint)
    else:
        sandbox.lifecycle.require_settled(before, "update deployment")
    validation.check_deployment(body, before.body if before is not None else None)
    written_body = _body(request, body, before)
    deployment = (
        Resource(f"{endpoint.id}/deployments/{request.parameters['deployment']}", KIND, written_body)
        if before is None
        else replace(before, body=written_body)
    )
    quota.check(sandbox.store, sandbox.settings, endpoint, deployment)
    deployment = _resolved(deployment, sandbox)
    stored, operation = sandbox.lifecycle.begin(
        Kind.CREATE if before is None else _change(before, deployment), deployment
    )
    location = endpoint.body["location"]
    shown = _put_answer(stored, before, body["properties"], request, location)
    answer = written(request, operation, location, shown)
    return replace(answer, headers={**answer.headers, **_WRITES_LEFT})


def _resolved(deployment: Resource, sandbox: Backend) -> Resource:
    """Return the deployment with the versions that its references name now, so that a label keeps what it named."""
    found = resolution.resolve(sandbox.store, sandbox.fleet.runtime, deployment)
    named = {"model": as_reference(found.model), "environmentId": as_reference(found.environment)}
    pinned = {
        field: value
        for field, value in named.items()
        if value is not None and not str(deployment.properties.get(field) or "/").startswith("/")
    }
    internal = {
        "variables": found.shown_variables,
        "scoring_path": found.routes.scoring.path,
        "engine": found.container is not None and found.container.local is None,
    }
    return replace(deployment.with_properties(**pinned), internal={**deployment.internal, **internal})


def patch_deployment(request: Request, sandbox: Backend) -> Response:
    """`PATCH .../deployments/{deployment}`: tags and sku only; `sku.capacity` scales."""
    endpoint, deployment = _find(request, sandbox)
    body = request.json()
    if unknown := set(body) - {"tags", "sku"}:
        raise ArmError.bad_request(f"A deployment's PATCH takes tags and sku only, got {sorted(unknown)}: use PUT.")
    sandbox.lifecycle.require_settled(endpoint, "update a deployment in endpoint")
    sandbox.lifecycle.require_settled(deployment, "update deployment")
    sku = {**deployment.body["sku"], **(body.get("sku") or {})}
    validation.check_capacity(sku["capacity"])
    changed = {**deployment.body, "sku": sku}
    changed["tags"] = {**deployment.body["tags"], **(body.get("tags") or {})}
    wanted = replace(deployment, body=changed)
    quota.check(sandbox.store, sandbox.settings, endpoint, wanted)
    _, operation = sandbox.lifecycle.begin(_change(deployment, wanted), wanted)
    return accepted(request, operation, endpoint.body["location"])


def delete_deployment(request: Request, sandbox: Backend) -> Response:
    """`DELETE .../deployments/{deployment}`: refused while it takes live or mirror traffic."""
    endpoint = endpoints.find(request, sandbox)
    deployment = sandbox.store.get(ids.deployment_id(request.parameters))
    if deployment is None:
        return Response(204)
    sandbox.lifecycle.require_settled(endpoint, "delete a deployment in endpoint")
    sandbox.lifecycle.require_settled(deployment, "delete deployment")
    for field, word in (("traffic", "live"), ("mirrorTraffic", "mirror")):
        weight = _weight(endpoint, field, deployment.name)
        if weight > 0:
            raise ArmError.validation(
                "Traffic",
                f"Deployment '{deployment.name}' cannot be deleted: it takes {weight} percent of {word} traffic "
                f"of endpoint '{endpoint.name}'. Set its {word} traffic to 0 first.",
            )
    _, operation = sandbox.lifecycle.begin(Kind.DELETE, deployment)
    return accepted(request, operation, endpoint.body["location"])


def get_logs(request: Request, sandbox: Backend) -> Response:
    """`POST .../getLogs`: the last lines of a container of an instance that the service chooses."""
    _, deployment = _find(request, sandbox)
    body = request.json()
    container, tail = body.get("containerType") or "InferenceServer", body.get("tail")
    if container not in _CONTAINERS:
        raise ArmError.validation(
            "ContainerType", f"ContainerType must be one of {_CONTAINERS}, got {container!r}."
        )
    if tail is not None and (not isinstance(tail, int) or tail < 0):
        raise ArmError.validation("Tail", f"Tail must be an integer of at least 0, got {tail!r}.")
    lines = min(tail or 100, MAX_LOG_LINES)
    return Response(200, {"content": sandbox.fleet.container_log(deployment.id, container, lines)})


def list_skus(request: Request, sandbox: Backend) -> Response:
    """`GET .../deployments/{deployment}/skus`: how far it can be scaled."""
    _, deployment = _find(request, sandbox)
    capacity = {
        "default": 3,
        "minimum": 1,
        "maximum": LIMITS.instances_per_deployment,
        "scaleType": "Automatic",
    }
    row = {"capacity": capacity, "resourceType": _SCALED_TYPE, "sku": {"name": "default", "tier": "Standard"}}
    del deployment
    return page(request, [row], "count")


def _find(request: Request, sandbox: Backend) -> tuple[Resource, Resource]:
    endpoint = endpoints.find(request, sandbox)
    deployment = sandbox.store.get(ids.deployment_id(request.parameters))
    if deployment is None:
        raise ArmError.not_found("online deployment", request.parameters["deployment"])
    return endpoint, deployment


def _body(request: Request, body: dict[str, Any], before: Resource | None) -> dict[str, Any]:
    """Return the body to store: what was sent, with the defaults that real reads show filled in."""
    sent = {key: value for key, value in body["properties"].items() if value is not None}
    variables = sent.get("environmentVariables") or {}
    properties = {
        "description": None,
        "appInsightsEnabled": False,
        "codeConfiguration": None,
        "environmentId": None,
        **sent,
        "environmentVariables": {name: one for name, one in variables.items() if name not in OWN_VARIABLES},
        "endpointComputeType": "Managed",
        "properties": {
            key: value for key, value in (sent.get("properties") or {}).items() if key != "AzureAsyncOperationUri"
        },
        "requestSettings": _REQUESTS | _present(sent.get("requestSettings")),
        "scaleSettings": {"scaleType": "Default"},
        "livenessProbe": _PROBE | _present(sent.get("livenessProbe")),
        "readinessProbe": _PROBE | _present(sent.get("readinessProbe")),
        "egressPublicNetworkAccess": str(sent.get("egressPublicNetworkAccess") or "Enabled").capitalize(),
    }
    identity = {"identity": body["identity"]} if body.get("identity") else {}
    return {
        "location": str(body["location"]).lower().replace(" ", ""),
        "tags": body.get("tags") or {},
        "kind": "Managed",
        "sku": {"name": "Default", "tier": "Standard"} | _present(body["sku"]),
        **identity,
        "systemData": short_system_data(request, before),
        "properties": properties,
    }


def _present(values: dict[str, Any] | None) -> dict[str, Any]:
    return {key: value for key, value in (values or {}).items() if value is not None}


def _change(before: Resource, after: Resource) -> Kind:
    """Scaling runs first when an update does both (how-to-deploy-online-endpoints.md); alone it is Scaling."""
    same = {**before.properties, "provisioningState": ""} == {**after.properties, "provisioningState": ""}
    return Kind.SCALE if same and before.body["sku"] != after.body["sku"] else Kind.UPDATE


def check_count(sandbox: Backend, endpoint: Resource) -> None:
    """Refuse one deployment more than an endpoint, or a region of a subscription, may have."""
    if len(sandbox.store.children(endpoint.id, KIND)) >= LIMITS.deployments_per_endpoint:
        raise ArmError.validation(
            "DeploymentLimit",
            f"Endpoint '{endpoint.name}' has {LIMITS.deployments_per_endpoint} deployments, which is the limit: "
            "delete one first.",
        )
    subscription, region = ids.subscription(endpoint.key), endpoint.body["location"]
    here = (
        one
        for one in sandbox.store.all("onlineEndpoints")
        if ids.subscription(one.key) == subscription and one.body["location"] == region
    )
    if sum(len(sandbox.store.children(one.id, KIND)) for one in here) >= LIMITS.deployments_per_region:
        raise ArmError.validation(
            "DeploymentLimit",
            f"Deployment limit of {LIMITS.deployments_per_region} per subscription and region is reached.",
        )


def _weight(endpoint: Resource, field: str, deployment: str) -> int:
    return sum(
        percent for name, percent in endpoint.properties[field].items() if name.lower() == deployment.lower()
    )


_DEPLOYMENT = ENDPOINT + "/deployments/{deployment}"
ROUTES = (
    Route("GET", ENDPOINT + "/deployments", "OnlineDeployments_List", list_deployments),
    Route("GET", _DEPLOYMENT, "OnlineDeployments_Get", get_deployment, known=RECORDED),
    Route("PUT", _DEPLOYMENT, "OnlineDeployments_CreateOrUpdate", put_deployment, known=RECORDED),
    Route("PATCH", _DEPLOYMENT, "OnlineDeployments_Update", patch_deployment, known=ASSUMED),
    Route("DELETE", _DEPLOYMENT, "OnlineDeployments_Delete", delete_deployment, known=RECORDED),
    Route("POST", _DEPLOYMENT + "/getLogs", "OnlineDeployments_GetLogs", get_logs, known=RECORDED),
    Route("GET", _DEPLOYMENT + "/skus", "OnlineDeployments_ListSkus", list_skus, known=RECORDED),
)
