"""Handlers: model packages - an environment that holds a model, its code and its server.

Source: specification, ModelVersions_Package (2023-08-01-preview); what azure-ai-ml sends is in
`azure/ai/ml/_utils/_package_utils.py`.
"""

import uuid
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.responses import system_data
from opslib.sandbox.arm.routing import ASSUMED, WORKSPACE, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints import assets
from opslib.sandbox.endpoints.workspaces import render, workspace_guid
from opslib.sandbox.instances.references import find_asset

_SERVERS = ("AzureMLOnline", "Custom", "Triton")


def package(request: Request, sandbox: Backend) -> Response:
    """`POST W/models/{name}/versions/{version}/package`: the environment is there at once; no image is built."""
    names, sent = request.parameters, request.json()
    workspace = ids.workspace_id(names)
    model = sandbox.store.get(f"{workspace}/models/{names['name']}/versions/{names['version']}")
    if model is None:
        raise ArmError.not_found("models version", f"{names['name']}:{names['version']}")
    server = sent.get("inferencingServer") or {}
    if server.get("serverType") not in _SERVERS:
        raise ArmError.bad_request(
            f"inferencingServer.serverType must be one of {', '.join(_SERVERS)}, got {server.get('serverType')!r}."
        )
    code = server.get("codeConfiguration") or {}
    if code:
        find_asset(sandbox.store, str(code.get("codeId")), "codes", workspace)
    base = str((sent.get("baseEnvironmentSource") or {}).get("resourceId") or "")
    found = find_asset(sandbox.store, base, "environments", workspace) if base else None
    environment = _environment(request, sandbox, workspace)
    properties = _properties(sent, found, environment)
    held = {"model": model.id, "codeConfiguration": code, "environmentVariables": sent.get("environmentVariables")}
    body = {"systemData": system_data(request, None), "properties": properties}
    stored = Resource(environment, "environments/versions", body, internal={"package": held})
    with sandbox.store.transaction():
        parent = ids.parent(environment)
        if sandbox.store.get(parent) is None:
            empty = {"systemData": system_data(request, None), "properties": assets.EMPTY_CONTAINER}
            sandbox.store.put(Resource(parent, "environments", empty))
        sandbox.store.put(stored)
    location = render(workspace, sandbox)["location"]
    own = f"azureml://locations/{location}/workspaces/{workspace_guid(workspace)}"
    return Response(200, _answer(sent, environment.replace(workspace, own)))


def _properties(sent: dict[str, Any], base: Resource | None, environment: str) -> dict[str, Any]:
    """Return the properties of the environment's version that a package becomes."""
    server = sent.get("inferencingServer") or {}
    properties: dict[str, Any] = {
        "image": f"sandbox.azurecr.io/azureml/package_{uuid.uuid5(uuid.NAMESPACE_URL, environment).hex}",
        "condaFile": base.properties.get("condaFile") or "" if base is not None else "",
        "environmentType": "UserCreated",
        "osType": "Linux",
        "isArchived": False,
        "isAnonymous": False,
        "tags": sent.get("tags") or {},
        "properties": {},
        "provisioningState": "Succeeded",
    }
    if server.get("inferenceConfiguration"):
        properties["inferenceConfig"] = server["inferenceConfiguration"]
    return properties


def _environment(request: Request, sandbox: Backend, workspace: str) -> str:
    """Return the id of the environment's version that a package becomes; without a version the next one."""
    sent = request.json()
    target = str(sent.get("targetEnvironmentId") or sent.get("targetEnvironmentName") or "")
    parts = target.removeprefix("azureml:").strip("/").split("/")
    if not parts[-1]:
        raise ArmError.bad_request("targetEnvironmentId is missing: name the environment that the package becomes.")
    version = parts[parts.index("versions") + 1] if "versions" in parts[:-1] else ""
    name = parts[parts.index("environments") + 1] if "environments" in parts[:-1] else parts[-1]
    container = f"{workspace}/environments/{name}"
    numbers = [
        int(one.name) for one in sandbox.store.children(container, "environments/versions") if one.name.isdigit()
    ]
    version = version or str(sent.get("targetEnvironmentVersion") or max(numbers, default=0) + 1)
    if sandbox.store.get(f"{container}/versions/{version}") is not None:
        raise ArmError(
            409, "Conflict", f"The environment '{name}:{version}' exists: package under another version."
        )
    return f"{container}/versions/{version}"


def _answer(sent: dict[str, Any], environment: str) -> dict[str, Any]:
    """Return the PackageResponse."""
    fields = (
        "baseEnvironmentSource",
        "environmentVariables",
        "inferencingServer",
        "inputs",
        "modelConfiguration",
        "tags",
    )
    build = {"buildId": uuid.uuid4().hex, "buildState": "Succeeded", "logUrl": None, "packageId": environment}
    return {
        **{field: sent.get(field) for field in fields},
        **build,
        "targetEnvironmentId": environment,
    }


ROUTES = (
    Route(
        "POST",
        WORKSPACE + "/models/{name}/versions/{version}/package",
        "ModelVersions_Package",
        package,
        known=ASSUMED,
    ),
)
