"""Endpoints and deployments, read from ARM's JSON; their logs, and the key for scoring."""

from typing import Any

from opslib.azure.arm import Json
from opslib.azure.connect import Workspace
from opslib.azure.resource import instance_count, provisioning_state, read_resource, tags, weights
from opslib.errors import NotFound, UnexpectedAnswer
from opslib.model import Deployment, Endpoint, asset_name
from opslib.model.traffic import normalize_traffic
from opslib.redaction.redact import register

API_VERSION = "2024-10-01"
"""Newest stable version of the specification with the fields of online endpoints that are read here."""


def read_endpoint(workspace: Workspace, name: str) -> Endpoint:
    """Read an endpoint and its deployments.

    Raises
    ------
    NotFound
        If there is no such endpoint; the message lists those that exist.
    """
    try:
        arm = read_arm(workspace, endpoint_path(workspace, name))
    except NotFound as error:
        known = ", ".join(sorted(str(e.get("name")) for e in list_endpoints(workspace))) or "none"
        raise NotFound(
            f"endpoint {name!r} does not exist in workspace {workspace.scope.workspace_name}; it has: {known}",
            error.status,
            error.code,
            error.correlation_id,
        ) from error
    return make_endpoint(arm, read_deployments(workspace, name))


def list_endpoints(workspace: Workspace) -> list[Json]:
    """Return the workspace's endpoints, as ARM's JSON."""
    return workspace.arm.list(f"{workspace.scope.workspace_id}/onlineEndpoints", API_VERSION)


def read_logs(
    workspace: Workspace, name: str, deployment: str, lines: int = 200, container: str = "InferenceServer"
) -> str:
    """Read the last log lines of a deployment's container, on an instance that Azure picks."""
    path = f"{deployment_path(workspace, name, deployment)}/getLogs"
    response = workspace.arm.post(path, API_VERSION, {"containerType": container, "tail": lines})
    return str(response.get("content") or "")


def read_scoring_key(workspace: Workspace, endpoint: Endpoint) -> str:
    """Fetch the key or token for scoring requests, by the endpoint's authMode, and register it for redaction."""
    path = endpoint_path(workspace, endpoint.name)
    if endpoint.auth_mode.lower() == "key":
        keys = workspace.arm.post(f"{path}/listKeys", API_VERSION)
        for key in filter(None, keys.values()):
            register(str(key))
        return _secret(keys, "primaryKey", f"listKeys of {endpoint.name}")
    if endpoint.auth_mode.lower() == "amltoken":
        answer = workspace.arm.post(f"{path}/token", API_VERSION)
        token = _secret(answer, "accessToken", f"token of {endpoint.name}")
    else:
        token = workspace.credential.get_token("https://ml.azure.com/.default").token
    register(token)
    return token


def endpoint_path(workspace: Workspace, name: str) -> str:
    """Return the ARM id of an endpoint."""
    return f"{workspace.scope.workspace_id}/onlineEndpoints/{name}"


def deployment_path(workspace: Workspace, endpoint: str, deployment: str) -> str:
    """Return the ARM id of a deployment."""
    return f"{endpoint_path(workspace, endpoint)}/deployments/{deployment}"


def read_arm(workspace: Workspace, path: str) -> Json:
    """Read an endpoint or a deployment, as ARM's JSON in the form that the rest expects."""
    return read_resource(workspace.arm.get(path, API_VERSION), path)


def read_deployments(workspace: Workspace, name: str) -> list[Json]:
    """Read the deployments of an endpoint, as ARM's JSON."""
    path = f"{endpoint_path(workspace, name)}/deployments"
    return [read_resource(one, path) for one in workspace.arm.list(path, API_VERSION)]


def traffic_field(arm: Json, field: str) -> dict[str, int]:
    """Return `traffic` or `mirrorTraffic` of an endpoint's JSON, without deployments at 0 %."""
    return normalize_traffic(weights(arm["properties"].get(field), f"{field} of {arm['name']}"))


def _secret(answer: Json, name: str, what: str) -> str:
    """Return a key or token of an answer.

    Raises
    ------
    UnexpectedAnswer
        If there is none, as of an endpoint whose authMode is another one.
    """
    if not answer.get(name):
        raise UnexpectedAnswer(
            f"{what}: no {name}, got {sorted(answer) or 'nothing'}, values empty. Check the endpoint's authMode "
            "and whether its keys were just regenerated"
        )
    return str(answer[name])


def make_endpoint(arm: Json, deployments: list[Json]) -> Endpoint:
    """Return the endpoint of ARM's JSON.

    Raises
    ------
    UnexpectedAnswer
        If it, or a deployment, has not the form of one.
    """
    arm = read_resource(arm, str(arm.get("id")))
    properties = arm["properties"]
    parts = [read_resource(one, str(one.get("id"))) for one in deployments]
    read = sorted((_deployment(one) for one in parts), key=lambda d: d.name)
    cased = {d.name.lower(): d.name for d in read}
    traffic, mirrored = (traffic_field(arm, field) for field in ("traffic", "mirrorTraffic"))
    return Endpoint(
        name=arm["name"],
        provisioning_state=provisioning_state(arm),
        auth_mode=properties.get("authMode") or "",
        scoring_uri=properties.get("scoringUri") or "",
        traffic={cased.get(n, n): w for n, w in traffic.items()},
        mirror_traffic={cased.get(n, n): w for n, w in mirrored.items()},
        tags=tags(arm),
        deployments=tuple(read),
        arm=arm,
    )


def _deployment(arm: Json) -> Deployment:
    properties: dict[str, Any] = arm["properties"]
    requests = properties.get("requestSettings") or {}
    return Deployment(
        name=arm["name"],
        provisioning_state=provisioning_state(arm),
        model=asset_name(properties.get("model")),
        environment=asset_name(properties.get("environmentId")),
        code=asset_name((properties.get("codeConfiguration") or {}).get("codeId")),
        instance_type=properties.get("instanceType") or "",
        instance_count=instance_count(arm, arm["name"]) if arm.get("sku") else 0,
        max_concurrent_requests_per_instance=int(requests.get("maxConcurrentRequestsPerInstance") or 1),
        arm=arm,
    )
