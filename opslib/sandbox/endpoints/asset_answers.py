"""Versions of assets as Azure ML shows them, and their contents as it keeps them.

Source: recordings of 2022 (api-version 2022-05-01), 2024 and 2025.
"""

import json
import re
from typing import Any

from opslib.sandbox.arm.api_versions import ASSETS_OF_2023, is_preview, since
from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.instances.references import as_reference

_GROUPS = re.compile("/resourcegroups/", re.IGNORECASE)


def normalized(kind: str, properties: dict[str, Any]) -> dict[str, Any]:
    """Return a version's properties as the service keeps them: a conda file as JSON, ids in its own spelling."""
    changed = dict(properties)
    if kind == "environments" and properties.get("condaFile"):
        changed["condaFile"] = _as_json(str(properties["condaFile"]))
    if kind == "models" and isinstance(properties.get("modelUri"), str):
        changed["modelUri"] = _GROUPS.sub("/resourceGroups/", properties["modelUri"])
    return changed


def render(version: Resource, request: Request, *, newest: bool) -> dict[str, Any]:
    """Return a version as the request's api-version shows it; `newest` is the one that `@latest` names."""
    kind = version.kind.split("/")[0]
    properties = {"description": None, **version.properties}
    if not since(request, ASSETS_OF_2023):
        properties.pop("provisioningState", None)
    properties |= _SHOWN.get(kind, _others)(properties, request, newest=newest)
    in_registry = request.api_version.endswith("dataplanepreview")
    head = {
        "id": as_reference(version.id) if in_registry else version.id,
        "name": version.name,
        "type": asset_type(version),
    }
    return {**head, **version.body, "properties": properties}


def asset_type(found: Resource) -> str:
    """Return an asset's type: in a workspace, or in a registry."""
    return f"{ids.PROVIDER}/{'registries' if '/registries/' in found.id.lower() else 'workspaces'}/{found.kind}"


def _others(properties: dict[str, Any], request: Request, *, newest: bool) -> dict[str, Any]:
    del properties, request, newest
    return {}


def _code(properties: dict[str, Any], request: Request, *, newest: bool) -> dict[str, Any]:
    """Return what is shown of a code; it is never shown as anonymous, whatever was sent."""
    del properties, request, newest
    return {"isAnonymous": False}


def _model(properties: dict[str, Any], request: Request, *, newest: bool) -> dict[str, Any]:
    del newest
    return {"jobName": properties.get("jobName"), **_stage(request)}


def _environment(properties: dict[str, Any], request: Request, *, newest: bool) -> dict[str, Any]:
    conda = {"condaFile": properties.get("condaFile") or ""} if properties.get("image") else {}
    if not since(request, ASSETS_OF_2023):
        return conda
    label = "latest" if newest and not properties.get("isAnonymous") else ""
    own = {**(properties.get("properties") or {}), "azureml.labels": label}
    return {"properties": own, "autoRebuild": "Disabled", **conda, **_stage(request)}


def _stage(request: Request) -> dict[str, Any]:
    """Return the stage that versions begin in, and what only previews show."""
    if not since(request, ASSETS_OF_2023):
        return {}
    if is_preview(request):
        return {"stage": "Logged", "autoDeleteSetting": None, "intellectualProperty": None}
    return {"stage": "Development"}


def _as_json(conda_file: str) -> str:
    """Return a conda file as JSON, indented by two; one that is no YAML as it is."""
    import yaml  # noqa: PLC0415 - only where a conda file is read

    try:
        content = yaml.safe_load(conda_file)
    except yaml.YAMLError:
        return conda_file
    return json.dumps(content, indent=2, default=str) if isinstance(content, dict) else conda_file


_SHOWN = {"codes": _code, "models": _model, "environments": _environment}
