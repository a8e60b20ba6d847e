"""A live endpoint as its YAML (CLI v2). Traffic is left out: runbooks move it, and a new endpoint has none."""

from collections.abc import Mapping
from typing import Any

from opslib.definitions.endpoint import ENDPOINT
from opslib.model import Endpoint
from opslib.model.traffic import describe_traffic
from opslib.runbooks.lease.tags import PREFIX
from opslib.scaffold.yaml_file import Section, YamlFile, hide_secrets

SCHEMA = "https://azuremlschemas.azureedge.net/latest/managedOnlineEndpoint.schema.json"

_AUTH_MODES = {"key": "key", "amltoken": "aml_token", "aadtoken": "aad_token"}
_OF_THE_SDK = frozenset({"createdBy", "createdAt", "lastModifiedAt"})
"""Properties that azure-ai-ml copies into each endpoint that it updates."""


def endpoint_file(endpoint: Endpoint) -> YamlFile:
    """Return the definition of an endpoint."""
    properties = endpoint.arm["properties"]
    own_tags = {name: value for name, value in endpoint.tags.items() if not name.startswith(PREFIX)}
    tags, secret = hide_secrets("tags", own_tags)
    head = {"$schema": SCHEMA, "name": endpoint.name}
    if properties.get("description"):
        head["description"] = properties["description"]
    mode = _AUTH_MODES.get(endpoint.auth_mode.lower(), endpoint.auth_mode)
    sections = [
        Section([f"yaml-language-server: $schema={SCHEMA}", f"Endpoint {endpoint.name}, as it was live."], head),
        Section(
            ["key: two keys. aml_token: tokens that expire. aad_token: Microsoft Entra ID. It cannot be changed."],
            {"auth_mode": mode},
        ),
        Section(
            ["The identity that reads model, image and code: it needs those rights and no others."]
            if endpoint.arm.get("identity")
            else (),
            _identity(endpoint.arm.get("identity") or {}),
        ),
        Section(
            ["disabled: only private endpoints of the workspace reach it."],
            {"public_network_access": str(properties.get("publicNetworkAccess") or "enabled").lower()},
        ),
        Section(
            [
                "Traffic is no part of this file: canary and rollback move it. When this file was written it was",
                f"  {describe_traffic(endpoint.traffic)}"
                + (f", mirrored {describe_traffic(endpoint.mirror_traffic)}" if endpoint.mirror_traffic else ""),
            ]
        ),
        Section((), _own_properties(properties)),
        Section((), {"tags": tags} if tags else {}),
    ]
    return YamlFile(ENDPOINT, sections, secret)


def _identity(identity: Mapping[str, Any]) -> dict[str, Any]:
    users = list(identity.get("userAssignedIdentities") or {})
    if users:
        entries = [{"resource_id": user} for user in users]
        return {"identity": {"type": "user_assigned", "user_assigned_identities": entries}}
    return {"identity": {"type": "system_assigned"}} if identity.get("type") == "SystemAssigned" else {}


def _own_properties(properties: Mapping[str, Any]) -> dict[str, Any]:
    own = {
        name: str(value)
        for name, value in (properties.get("properties") or {}).items()
        if not name.lower().startswith("azure") and name not in _OF_THE_SDK
    }
    return {"properties": own} if own else {}
