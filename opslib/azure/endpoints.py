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
from opslib.azure.mirror import require_own_mirror
from opslib.azure.resource import (
    UNSTATED,
    instance_count,
    provisioning_state,
    read_resource,
    weights,
    writable,
)
from opslib.azure.resource import tags as read_tags
from opslib.errors import ApplyError, Drift, NotFound, OperationTimeout, UnexpectedAnswer
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
        arm = _read(workspace, _path(workspace, name))
    except NotFound as error:
        known = ", ".join(sorted(str(e.get("name")) for e in list_endpoints(workspace))) or "none"
        raise NotFound(
            f"endpoint {name!r} does not exist in workspace {workspace.scope.workspace_name}; it has: {known}",
            error.status,
            error.code,
            error.correlation_id,
        ) from error
    return make_endpoint(arm, _read_deployments(workspace, name))


def list_endpoints(workspace: Workspace) -> list[Json]:
    """Return the workspace's endpoints, as ARM's JSON."""
    return workspace.arm.list(f"{workspace.scope.workspace_id}/onlineEndpoints", API_VERSION)


def set_traffic(
    workspace: Workspace, step: SetTraffic, deadline_s: float, progress: Progress, tags: EditTags = dict
) -> Receipt:
    """Set live traffic and edit tags in one request, and read back until the traffic is visible.

    A mirror ends in a request before the one that moves live traffic: the service refuses both on one deployment.

    Raises
    ------
    Drift
        If the endpoint's traffic is neither the step's `before` nor its `after`: it was changed since it was read.
    """
    name, before, after = step.endpoint, step.before, step.after
    begun_s = monotonic()
    arm = settle(workspace, name, deadline_s, progress)
    seen, mirrored = (normalize_traffic(_weights(arm, field)) for field in ("traffic", "mirrorTraffic"))
    mirror = mirrored if step.mirror is None else normalize_traffic(step.mirror)
    edited = dict(tags(read_tags(arm)))
    if (seen, mirrored, edited) == (normalize_traffic(after), mirror, read_tags(arm)):
        return _unchanged("PUT", _path(workspace, name))
    require_own_mirror(step, mirrored)
    if seen not in (normalize_traffic(before), normalize_traffic(after)):
        raise Drift(
            f"traffic of {name} is {describe_traffic(seen)}, expected {describe_traffic(before)}: it was changed "
            "after this run read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    if mirror != mirrored and seen != normalize_traffic(after):
        held = SetTraffic(name, seen, seen, mirror=dict.fromkeys(mirrored, 0) | mirror)
        set_traffic(workspace, held, deadline_s, progress)
        arm = settle(workspace, name, deadline_s, progress)
    body = writable(arm)
    body["properties"] |= {"traffic": normalize_traffic(after), "mirrorTraffic": mirror}
    body["tags"] = edited
    receipt = workspace.arm.write(
        "PUT",
        _path(workspace, name),
        API_VERSION,
        body=body,
        deadline_s=max(1.0, deadline_s - (monotonic() - begun_s)),
        progress=progress,
    )
    _read_back(workspace, name, after, mirror)
    return receipt


def edit_tags(workspace: Workspace, name: str, tags: EditTags, deadline_s: float, progress: Progress) -> Receipt:
    """Edit an endpoint's tags: by PATCH, which changes no other field, or by PUT if a tag is removed.

    It is not documented whether a PATCH removes the tags that it does not name.
    """
    arm = settle(workspace, name, deadline_s, progress)
    before = read_tags(arm)
    edited = dict(tags(before))
    if edited == before:
        return _unchanged("PATCH", _path(workspace, name))
    adds = edited.keys() >= before.keys()
    method, body = ("PATCH", {"tags": edited}) if adds else ("PUT", writable(arm) | {"tags": edited})
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
    path = deployment_path(workspace, step.endpoint, step.deployment)
    settle(workspace, step.endpoint, deadline_s, progress)
    arm = _read(workspace, path)
    seen = instance_count(arm, step.deployment)
    if seen == step.after:
        return _unchanged("PATCH", path)
    if seen != step.before:
        raise Drift(
            f"{step.deployment} has {seen} instances, expected {step.before}: it was changed after this run "
            "read it. Nothing was overwritten. Find in the activity log who changed it; plan again"
        )
    body = {
        "sku": {key: value for key, value in arm["sku"].items() if value is not None} | {"capacity": step.after}
    }
    receipt = workspace.arm.write("PATCH", path, API_VERSION, body=body, deadline_s=deadline_s, progress=progress)
    seen = instance_count(_read(workspace, path), step.deployment)
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
    path = deployment_path(workspace, name, deployment)
    return workspace.arm.write("DELETE", path, API_VERSION, deadline_s=deadline_s, progress=progress)


def read_logs(
    workspace: Workspace, name: str, deployment: str, lines: int = 200, container: str = "InferenceServer"
) -> str:
    """Read the last log lines of a deployment's container, on an instance that Azure picks."""
    path = f"{deployment_path(workspace, name, deployment)}/getLogs"
    response = workspace.arm.post(path, API_VERSION, {"containerType": container, "tail": lines})
    return str(response.get("content") or "")


def read_scoring_key(workspace: Workspace, endpoint: Endpoint) -> str:
    """Fetch the key or token for scoring requests, by the endpoint's authMode, and register it for redaction."""
    path = _path(workspace, endpoint.name)
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


def settle(workspace: Workspace, name: str, deadline_s: float, progress: Progress) -> Json:
    """Wait until no operation runs on the endpoint or its deployments; return the endpoint's JSON.

    The service rejects a write during an operation ("... because it is in Updating provisioning state").
    """
    path = _path(workspace, name)
    begun_s = monotonic()
    while True:
        arm = _read(workspace, path)
        states = {one["name"]: provisioning_state(one) for one in (arm, *_read_deployments(workspace, name))}
        busy = {one: state for one, state in states.items() if state not in TERMINAL_STATES}
        if not busy:
            return arm
        state = ", ".join(f"{one} {state}" for one, state in busy.items())
        if UNSTATED in busy.values():
            raise UnexpectedAnswer(
                f"{name}: provisioningState is missing ({state}), expected one such as Succeeded. It is not known "
                "whether an operation runs; nothing was changed. Read the endpoint again; if it repeats, report it"
            )
        if monotonic() - begun_s > deadline_s:
            raise OperationTimeout(
                f"another operation on {name} did not end within {deadline_s:.0f} s ({state}). Nothing was "
                "changed. Wait for it to end, then run again"
            )
        progress(f"waiting for {state}")
        sleep(1.0)


def _read_back(workspace: Workspace, name: str, wanted: Traffic, mirror: Traffic) -> None:
    begun_s = monotonic()
    while True:
        arm = _read(workspace, _path(workspace, name))
        seen = normalize_traffic(_weights(arm, "traffic"))
        if (seen, normalize_traffic(_weights(arm, "mirrorTraffic"))) == (normalize_traffic(wanted), mirror):
            return
        if monotonic() - begun_s > READ_BACK_S:
            raise Drift(
                f"traffic of {name} still reads {describe_traffic(seen)} {READ_BACK_S:.0f} s after it was set to "
                f"{describe_traffic(wanted)}: it was changed meanwhile, or the service lost the update"
            )
        sleep(1.0)


def _path(workspace: Workspace, name: str) -> str:
    return f"{workspace.scope.workspace_id}/onlineEndpoints/{name}"


def deployment_path(workspace: Workspace, endpoint: str, deployment: str) -> str:
    """Return the ARM id of a deployment."""
    return f"{_path(workspace, endpoint)}/deployments/{deployment}"


def _read(workspace: Workspace, path: str) -> Json:
    return read_resource(workspace.arm.get(path, API_VERSION), path)


def _read_deployments(workspace: Workspace, name: str) -> list[Json]:
    path = f"{_path(workspace, name)}/deployments"
    return [read_resource(one, path) for one in workspace.arm.list(path, API_VERSION)]


def _weights(arm: Json, field: str) -> dict[str, int]:
    return weights(arm["properties"].get(field), f"{field} of {arm['name']}")


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


def _unchanged(method: str, path: str) -> Receipt:
    return Receipt(method, path, "", datetime.now(UTC), 0.0, changed=False)


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
    traffic, mirrored = (normalize_traffic(_weights(arm, field)) for field in ("traffic", "mirrorTraffic"))
    return Endpoint(
        name=arm["name"],
        provisioning_state=provisioning_state(arm),
        auth_mode=properties.get("authMode") or "",
        scoring_uri=properties.get("scoringUri") or "",
        traffic={cased.get(n, n): w for n, w in traffic.items()},
        mirror_traffic={cased.get(n, n): w for n, w in mirrored.items()},
        tags=read_tags(arm),
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
