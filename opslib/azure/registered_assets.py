"""Registered models and environments that a definition refers to: which version, and whether it is there."""

import re
from dataclasses import dataclass
from typing import Literal

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION
from opslib.errors import AzureError, NotFound
from opslib.model.surroundings import Asset, Unread

Kind = Literal["models", "environments"]
_REFERENCE = re.compile(r"azureml:(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))?")


@dataclass(frozen=True)
class AssetVersion:
    """A registered asset as a definition refers to it.

    Attributes
    ----------
    reference
        As the definition has it.
    found
        ``azureml:name:version`` of what it refers to now; "" where there is no such version.
    problem
        Why it could not be looked up, else "".
    """

    kind: Kind
    reference: str
    found: str
    problem: str = ""


def is_registered(reference: str) -> bool:
    """Return whether a reference names an asset of the workspace, as `find_asset` looks it up."""
    return _REFERENCE.fullmatch(reference) is not None


def find_asset(workspace: Workspace, kind: Kind, reference: str) -> AssetVersion | None:
    """Look a reference up in the workspace; None for what is not a workspace asset's name.

    ``@latest`` is the version that was registered last, as azure-ai-ml resolves it.
    """
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    container = f"{workspace.scope.workspace_id}/{kind}/{match['name']}"
    try:
        version = match["version"]
        if version is None:
            newest = workspace.arm.get(
                f"{container}/versions", API_VERSION, **{"$orderBy": "createdtime desc", "$top": "1"}
            )
            version = next((str(row["name"]) for row in newest.get("value") or []), "")
        elif not workspace.arm.get(f"{container}/versions/{version}", API_VERSION):
            version = ""
    except NotFound:
        version = ""
    except AzureError as error:
        return AssetVersion(kind, reference, "", str(error))
    return AssetVersion(kind, reference, f"azureml:{match['name']}:{version}" if version else "")


def read_asset(workspace: Workspace, asset_id: str) -> Asset | Unread:
    """Read the registered version with an ARM id, as a deployment names it."""
    if "/registries/" in asset_id.lower():
        return Unread("it is in a registry, which this does not read")
    try:
        properties = workspace.arm.get(asset_id, API_VERSION)["properties"]
    except NotFound:
        return Asset(asset_id, found=False)
    except AzureError as error:
        return Unread(str(error))
    return Asset(
        asset_id,
        found=True,
        anonymous=bool(properties.get("isAnonymous")) or _made_of_content(asset_id),
        tags={str(name): str(value) for name, value in (properties.get("tags") or {}).items()},
        image=str(properties.get("image") or ""),
        conda=str(properties.get("condaFile") or ""),
    )


def _made_of_content(asset_id: str) -> bool:
    """Return whether azure-ai-ml made the name: the recorded service shows `isAnonymous` false nevertheless."""
    name = asset_id.split("/")[-3]
    return name == "CliV2AnonymousEnvironment" or re.fullmatch(r"[0-9a-f]{32,}", name) is not None
