"""Endpoints and deployments as ARM's JSON: read, change one field, read back.

Every write reads the resource again first and raises on drift. Every write is idempotent: a resource that already
has the requested value is not written. Fields that opslib does not know are sent back as they were read.
"""

from collections.abc import Callable, Mapping
from datetime import UTC, datetime
from time import monotonic, sleep
from typing import Any

from opslib.azure.arm import Json, Progress
from opslib.azure.connect import Workspace
from opslib.errors import ApplyError, Drift, NotFound, OperationTimeout
from opslib.model import Deployment, Endpoint, Receipt, SetInstanceCount, SetTraffic, Traffic, asset_name
from opslib.model.traffic import describe_traffic, normalize_traffic
from opslib.redaction.redact import register

API_VERSION = "2024-10-01"
"""Newest stable version of the specification with the fields of online endpoints that are read here."""

READ_BACK_S = 60.0
"""Longest wait until reads show a traffic update, which is eventually consistent (azure-dev PR 3881) [seconds]."""

EditTags = Callable[[Mapping[str, str]], Mapping[str, str]]
"""Returns an endpoint's tags after an edit; raises to prevent the write."""

TERMINAL_STATES = frozenset({"Succeeded", "Failed", "Canceled"})


def read_endpoint(workspace: Workspace, name: str) -> Endpoint:
    """Read an endpoint and its deployments.

    Raises
    ------
    NotFound
        If there is no such endpoint; the message lists those that exist.
    """
    try:
        arm = workspace.arm.get(_path(workspace, name), API_VERSION)
    except NotFound as error:
        known = ", ".join(sorted(e["name"] for e in list_endpoints(workspace))) or "none"
        raise NotFound(
            f"endpoint {name!r} does not exist in workspace {workspace.scope.workspace_name}; it has: {known}",
            error.status,
            error.code,
            error.correlation_id,
        ) from error
    deployments = workspace.arm.list(f"{_path(workspace, name)}/deployments", API_VERSION)
    return make_endpoint(arm, deployments)


def list_endpoints(workspace: Workspace) -> list[Json]:
    """Return the workspace's endpoints, as ARM's JSON."""
    return workspace.arm.list(f"{workspace.scope.workspace_id}/onlineEndpoints", API_VERSION)


def set_traffic(
    workspace: Workspace, step: SetTraffic, deadline_s: float, progress: Progress, tags: EditTags = dict
) -> Receipt:
    """Set live traffic and edit tags in one request, and read back until the traffic is visible.

    Raises
    ------
    Drift
        If the endpoint's traffic is neither the step's `before` nor its `after`: it was changed since it was read.
    """
    name, before, after = step.endpoint, step.before, step.after
    begun_s = monotonic()
    arm = settle(workspace, name, deadline_s, progress)
    seen = normalize_traffic(arm["properties"].get("traffic"))
    edited = dict(tags(arm.get("tags") or {}))
    if seen == normalize_traffic(after) and edited == (arm.get("tags") or {}):
        return _unchanged("PUT", _path(workspace, name))
    if seen not in (normalize_traffic(before), normalize_traffic(after)):
        raise Drift(
            f"traffic of {name} is {describe_traffic(seen)}, expected {describe_traffic(before)}: it was changed "
            "after this run read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    body = _writable(arm)
    body["properties"]["traffic"] = normalize_traffic(after)
    body["tags"] = edited
    receipt = workspace.arm.write(
        "PUT",
        _path(workspace, name),
        API_VERSION,
        body=body,
        deadline_s=max(1.0, deadline_s - (monotonic() - begun_s)),
        progress=progress,
    )
    _read_back(workspace, name, after)
    return receipt


def edit_tags(workspace: Workspace, name: str, tags: EditTags, deadline_s: float, progress: Progress) -> Receipt:
    """Edit an endpoint's tags: by PATCH, which changes no other field, or by PUT if a tag is removed.

    It is not documented whether a PATCH removes the tags that it does not name.
    """
    arm = settle(workspace, name, deadline_s, progress)
    before = arm.get("tags") or {}
    edited = dict(tags(before))
    if edited == before:
        return _unchanged("PATCH", _path(workspace, name))
    adds = edited.keys() >= before.keys()
    method, body = ("PATCH", {"tags": edited}) if adds else ("PUT", _writable(arm) | {"tags": edited})
    return workspace.arm.write(
        method, _path(workspace, name), API_VERSION, body=body, deadline_s=deadline_s, progress=progress
    )


def scale(workspace: Workspace, step: SetInstanceCount, deadline_s: float, progress: Progress) -> Receipt:
    """Set a deployment's number of instances by PATCH of its sku, which changes no other field.

    Raises
    ------
    Drift
        If it is neither the step's `before` nor its `after`: a person or autoscale changed it since it was read.
    """
    path = f"{_path(workspace, step.endpoint)}/deployments/{step.deployment}"
    settle(workspace, step.endpoint, deadline_s, progress)
    arm = workspace.arm.get(path, API_VERSION)
    seen = arm["sku"]["capacity"]
    if seen == step.after:
        return _unchanged("PATCH", path)
    if seen != step.before:
        raise Drift(
            f"{step.deployment} has {seen} instances, expected {step.before}: it was changed after this run "
            "read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    body = {"sku": arm["sku"] | {"capacity": step.after}}
    receipt = workspace.arm.write("PATCH", path, API_VERSION, body=body, deadline_s=deadline_s, progress=progress)
    seen = workspace.arm.get(path, API_VERSION)["sku"]["capacity"]
    if seen != step.after:
        raise ApplyError(
            f"{step.deployment} has {seen} instances after scaling, expected {step.after}; an autoscale setting "
            "may have changed it"
        )
    return receipt


def delete_deployment(
    workspace: Workspace, name: str, deployment: str, deadline_s: float, progress: Progress
) -> Receipt:
    """Delete a deployment. The service rejects one that takes live traffic; an absent one is not an error."""
    path = f"{_path(workspace, name)}/deployments/{deployment}"
    return workspace.arm.write("DELETE", path, API_VERSION, deadline_s=deadline_s, progress=progress)


def read_logs(workspace: Workspace, name: str, deployment: str, lines: int = 200) -> str:
    """Read the last log lines of a deployment's container, on an instance that Azure picks."""
    path = f"{_path(workspace, name)}/deployments/{deployment}/getLogs"
    response = workspace.arm.post(path, API_VERSION, {"containerType": "InferenceServer", "tail": lines})
    return str(response.get("content") or "")


def read_scoring_key(workspace: Workspace, endpoint: Endpoint) -> str:
    """Fetch the key or token for scoring requests, by the endpoint's authMode, and register it for redaction."""
    path = _path(workspace, endpoint.name)
    if endpoint.auth_mode.lower() == "key":
        keys = workspace.arm.post(f"{path}/listKeys", API_VERSION)
        for key in keys.values():
            register(str(key))
        return str(keys["primaryKey"])
    if endpoint.auth_mode.lower() == "amltoken":
        token = str(workspace.arm.post(f"{path}/token", API_VERSION)["accessToken"])
    else:
        token = workspace.credential.get_token("https://ml.azure.com/.default").token
    register(token)
    return token


def settle(workspace: Workspace, name: str, deadline_s: float, progress: Progress) -> Json:
    """Wait until no operation runs on the endpoint or its deployments; return the endpoint's JSON.

    The service rejects a write during an operation ("... because it is in Updating provisioning state").
    """
    path = _path(workspace, name)
    begun_s = monotonic()
    while True:
        arm = workspace.arm.get(path, API_VERSION)
        resources = [arm, *workspace.arm.list(f"{path}/deployments", API_VERSION)]
        busy = [r for r in resources if r["properties"].get("provisioningState") not in TERMINAL_STATES]
        if not busy:
            return arm
        state = ", ".join(f"{r['name']} {r['properties']['provisioningState']}" for r in busy)
        if monotonic() - begun_s > deadline_s:
            raise OperationTimeout(
                f"another operation on {name} did not end within {deadline_s:.0f} s ({state}). Nothing was "
                "changed. Wait for it to end, then run again"
            )
        progress(f"waiting for {state}")
        sleep(1.0)


def _read_back(workspace: Workspace, name: str, wanted: Traffic) -> None:
    begun_s = monotonic()
    while True:
        arm = workspace.arm.get(_path(workspace, name), API_VERSION)
        seen = normalize_traffic(arm["properties"].get("traffic"))
        if seen == normalize_traffic(wanted):
            return
        if monotonic() - begun_s > READ_BACK_S:
            raise Drift(
                f"traffic of {name} still reads {describe_traffic(seen)} {READ_BACK_S:.0f} s after it was set to "
                f"{describe_traffic(wanted)}: it was changed meanwhile, or the service lost the update"
            )
        sleep(1.0)


def _path(workspace: Workspace, name: str) -> str:
    return f"{workspace.scope.workspace_id}/onlineEndpoints/{name}"


def _writable(arm: Json) -> Json:
    """Return the body of a PUT from that of a GET, without the fields that only the service sets."""
    properties = {k: v for k, v in arm["properties"].items() if k not in _READ_ONLY}
    properties["properties"] = {
        k: v for k, v in (properties.get("properties") or {}).items() if k != "AzureAsyncOperationUri"
    }
    body = {k: arm[k] for k in ("location", "tags", "kind", "sku", "identity") if arm.get(k) is not None}
    return body | {"properties": properties}


_READ_ONLY = frozenset({"scoringUri", "swaggerUri", "provisioningState"})


def _unchanged(method: str, path: str) -> Receipt:
    return Receipt(method, path, "", datetime.now(UTC), 0.0, changed=False)


def make_endpoint(arm: Json, deployments: list[Json]) -> Endpoint:
    """Return the endpoint of ARM's JSON."""
    properties = arm["properties"]
    read = sorted((_deployment(d) for d in deployments), key=lambda d: d.name)
    cased = {d.name.lower(): d.name for d in read}
    traffic, mirrored = (normalize_traffic(properties.get(key)) for key in ("traffic", "mirrorTraffic"))
    return Endpoint(
        name=arm["name"],
        provisioning_state=properties.get("provisioningState", "Unknown"),
        auth_mode=properties.get("authMode", ""),
        scoring_uri=properties.get("scoringUri", ""),
        traffic={cased.get(n, n): w for n, w in traffic.items()},
        mirror_traffic={cased.get(n, n): w for n, w in mirrored.items()},
        tags=arm.get("tags") or {},
        deployments=tuple(read),
        arm=arm,
    )


def _deployment(arm: Json) -> Deployment:
    properties: dict[str, Any] = arm["properties"]
    return Deployment(
        name=arm["name"],
        provisioning_state=properties.get("provisioningState", "Unknown"),
        model=asset_name(properties.get("model")),
        environment=asset_name(properties.get("environmentId")),
        code=asset_name((properties.get("codeConfiguration") or {}).get("codeId")),
        instance_type=properties.get("instanceType") or "",
        instance_count=int((arm.get("sku") or {}).get("capacity") or 0),
        max_concurrent_requests_per_instance=int(
            (properties.get("requestSettings") or {}).get("maxConcurrentRequestsPerInstance") or 1
        ),
        arm=arm,
    )
