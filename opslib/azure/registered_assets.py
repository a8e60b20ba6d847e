"""Registered models and environments that a definition refers to: which version, and whether it is there."""

import re
from dataclasses import dataclass
from typing import Literal

from opslib.azure import registries
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION
from opslib.errors import AzureError, NotFound
from opslib.model.surroundings import Asset, Unread

Kind = Literal["models", "environments"]
_REFERENCE = re.compile(r"azureml:(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))?")
_IN_REGISTRY = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)/(?P<by>versions|labels)/(?P<which>[^/]+)"
)
_BY_ID = re.compile(
    r"(?P<prefix>azureml:)?(?P<container>/subscriptions/.+/(?P<kind>models|environments)/[^/]+)"
    r"/(?P<by>versions|labels)/(?P<which>[^/]+)",
    re.IGNORECASE,
)
LATEST = "latest"
"""The only label that azure-ai-ml 1.35 resolves (`_resolve_label_to_asset`)."""


@dataclass(frozen=True)
class AssetVersion:
    """A registered asset as a definition refers to it.

    Attributes
    ----------
    reference
        As the definition has it.
    found
        The reference with the version that it names now; "" where there is no such version.
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
    """Look a reference up, in the workspace or in a registry; None for what is no reference to an asset.

    The label ``latest`` is the version that was registered last, as azure-ai-ml resolves it.
    """
    try:
        found = _find(workspace, kind, reference)
    except NotFound:
        found = ""
    except AzureError as error:
        return AssetVersion(kind, reference, "", str(error))
    return None if found is None else AssetVersion(kind, reference, found)


def _find(workspace: Workspace, kind: Kind, reference: str) -> str | None:
    """Return the reference with the version that it names; "" without one, None for what is no reference."""
    if match := _IN_REGISTRY.fullmatch(reference):
        return _in_registry(workspace, kind, match)
    if match := _BY_ID.fullmatch(reference):
        version = _version(
            workspace, match["container"], match["which"], by_version=match["by"].lower() == "versions"
        )
        return f"{match['prefix'] or ''}{match['container']}/versions/{version}" if version else ""
    match = _REFERENCE.fullmatch(reference)
    if match is None:
        return None
    container = f"{workspace.scope.workspace_id}/{kind}/{match['name']}"
    which = match["version"] or match["label"] or LATEST
    version = _version(workspace, container, which, by_version=match["version"] is not None)
    return f"azureml:{match['name']}:{version}" if version else ""


def _in_registry(workspace: Workspace, kind: Kind, match: re.Match[str]) -> str:
    registry, name, version = match["registry"], match["name"], match["which"]
    if match["kind"] != kind:
        return ""
    if match["by"] == "versions":
        registries.read_version(workspace, registry, kind, name, version)
    else:
        version = registries.newest_version(workspace, registry, kind, name) if version == LATEST else ""
    return f"azureml://registries/{registry}/{kind}/{name}/versions/{version}" if version else ""


def _version(workspace: Workspace, container: str, which: str, *, by_version: bool) -> str:
    """Return a version that is there, or the one that a label names; else ""."""
    if by_version:
        return which if workspace.arm.get(f"{container}/versions/{which}", API_VERSION) else ""
    if which != LATEST:
        return ""
    ordered = {"$orderBy": "createdtime desc", "$top": "1"}
    newest = workspace.arm.get(f"{container}/versions", API_VERSION, **ordered)
    return next((str(row["name"]) for row in newest.get("value") or []), "")


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
