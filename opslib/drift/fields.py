"""The fields of endpoints and deployments that a person can write, in a form in which equal settings are equal.

What only the service sets is left out. Azure writes the same setting in several ways: names and enumerations in any
case, durations as PT0.5S or PT500MS, zero weights or none, null, {} or nothing. Pure.
"""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from pydantic import TypeAdapter, ValidationError

from opslib.redaction.redact import MASK

READ_ONLY = frozenset(
    {
        *("properties.scoringUri", "properties.swaggerUri", "properties.provisioningState", "properties.compute"),
        *("properties.privateNetworkConnection", "properties.keys", "properties.endpointComputeType"),
        *("sku.name", "sku.tier", "sku.size", "sku.family", "identity.principalId", "identity.tenantId"),
    }
)
"""Fields that only the service sets, or that have one value for managed endpoints."""

SDK_NOTES = frozenset(
    {
        *("azureml.onlineendpointid", "azureasyncoperationuri", "createdby", "createdat", "lastmodifiedat"),
        *("createdbytype", "lastmodifiedby", "lastmodifiedbytype"),
    }
)
"""Entries of `properties.properties` that the service and azure-ai-ml 1.35 write there by themselves."""

_PROBE: Mapping[str, float] = {
    "failureThreshold": 30,
    "successThreshold": 1,
    "timeout": 2.0,
    "period": 10.0,
    "initialDelay": 10.0,
}

DEFAULTS: Mapping[str, tuple[Any, ...]] = {
    "kind": ("managed",),
    "identity.type": ("systemassigned",),
    "sku.capacity": (1,),
    "properties.publicNetworkAccess": ("enabled",),
    "properties.egressPublicNetworkAccess": ("enabled",),
    "properties.appInsightsEnabled": (False,),
    "properties.scaleSettings.scaleType": ("default",),
    "properties.dataCollector.rollingRate": ("hour",),
    "properties.requestSettings.requestTimeout": (5.0,),
    "properties.requestSettings.maxConcurrentRequestsPerInstance": (1,),
    "properties.requestSettings.maxQueueWait": (0.5, 0.0),
    **{
        f"properties.{probe}.{name}": (value,)
        for probe in ("livenessProbe", "readinessProbe")
        for name, value in _PROBE.items()
    },
}
"""What the service fills in where nothing was sent; several where specification and recordings differ.

Source: reference-yaml-deployment-managed-online.md; recordings of azure-ai-ml, 2022 to 2025.
"""

LEASE_TAGS = "opslib-lease-"
"""Tags of a change under way; the change's own run accounts for them."""

_IGNORING_CASE = re.compile(
    r"kind|location|identity\.type|identity\.userAssignedIdentities\..*|properties\.(authMode|instanceType|model"
    r"|environmentId|publicNetworkAccess|egressPublicNetworkAccess|codeConfiguration\.codeId|scaleSettings\.scaleType"
    r"|dataCollector\..*)"
)
_ASSETS = frozenset({"properties.model", "properties.environmentId", "properties.codeConfiguration.codeId"})
_WEIGHTS = ("properties.traffic.", "properties.mirrorTraffic.")
_DURATION = TypeAdapter(timedelta)


@dataclass(frozen=True)
class Setting:
    """The value of one field: as Azure or a file writes it, and in the form that is compared."""

    shown: Any
    compared: Any


Settings = Mapping[str, Setting]
"""Settings by dotted name, as in ARM's JSON."""


def read_settings(arm: Mapping[str, Any]) -> dict[str, Setting]:
    """Return the writable fields of an endpoint or a deployment, without those that are empty."""
    content = {name: arm.get(name) for name in ("location", "tags", "kind", "sku", "identity", "properties")}
    return dict(_settings(content))


def named_values(settings: Settings) -> dict[str, Any]:
    """Return environment variables and tags by name; without those that were masked when they were recorded."""
    return {
        path.removeprefix(prefix): one.shown
        for prefix in ("properties.environmentVariables.", "tags.")
        for path, one in settings.items()
        if path.startswith(prefix) and MASK not in str(one.shown)
    }


def may_be_masked(now: Any, recorded: Any) -> bool:
    """Return whether a value may be the one of which a record has a masked secret.

    >>> may_be_masked("postgres://ann:hunter2@db", "postgres://[redacted]@db"), may_be_masked("x", "x[redacted]y")
    (True, False)
    """
    if not isinstance(recorded, str) or MASK not in recorded:
        return False
    return re.fullmatch(".*".join(map(re.escape, recorded.split(MASK))), str(now), re.DOTALL) is not None


def make_setting(path: str, value: Any) -> Setting:
    """Return a field's value with the form in which it is compared."""
    return Setting(value, _compared(path, value))


def by_asset_name(setting: Setting) -> Setting:
    """Return an asset's id compared by its name and version, as definitions name assets."""
    return Setting(setting.shown, whole_asset_name(str(setting.shown)).lower())


def whole_asset_name(text: str) -> str:
    """Return the name and version of an asset's id, an anonymous asset's whole hash included.

    >>> whole_asset_name("azureml://registries/azureml/models/gpt2/versions/19")
    'gpt2:19'
    """
    parts = text.split("/")
    return f"{parts[-3]}:{parts[-1]}" if len(parts) > 3 and parts[-2] == "versions" else text


def is_asset(path: str) -> bool:
    """Return whether a field names a model, an environment or code."""
    return path in _ASSETS


def seconds(text: str) -> float | None:
    """Read an ISO 8601 duration [seconds]; None where it is none.

    >>> seconds("PT1M0.5S"), seconds("30")
    (60.5, None)
    """
    if not text.startswith("P"):
        return None
    try:
        return _DURATION.validate_python(text).total_seconds()
    except ValidationError:
        return None


def _settings(content: Mapping[str, Any]) -> Iterator[tuple[str, Setting]]:
    for path, value in _flat(content, ""):
        name = path.removeprefix("properties.properties.")
        noted = name != path and name.lower() in SDK_NOTES
        if path in READ_ONLY or path.startswith(f"tags.{LEASE_TAGS}") or noted:
            continue
        if path.startswith(_WEIGHTS):
            if value:
                yield path.lower().replace("mirrortraffic", "mirrorTraffic"), Setting(value, int(value))
            continue
        yield path, make_setting(path, value)


def _flat(value: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, Any]]:
    """Yield each field that is not empty by its dotted name."""
    for key, inner in value.items():
        path = f"{prefix}{key}"
        if path == "identity.userAssignedIdentities":
            yield from ((f"{path}.{name.lower()}", name) for name in inner or {})
        elif isinstance(inner, Mapping):
            yield from _flat(inner, f"{path}.")
        elif inner is not None and inner not in ("", []):
            yield path, inner


def _compared(path: str, value: Any) -> Any:
    if isinstance(value, str) and path.startswith("properties.") and path.count(".") == 2:
        length = seconds(value) if "Probe." in path or "requestSettings." in path else None
        if length is not None:
            return length
    if isinstance(value, str) and _IGNORING_CASE.fullmatch(path):
        return value.lower().replace(" ", "") if path == "location" else value.lower()
    return value
