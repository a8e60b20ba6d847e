"""What an endpoint's and a deployment's YAML (CLI v2) expect, in the names of ARM's JSON. Pure.

What refers to local files has no name in Azure, and is left open: only an upload would show whether it differs.
"""

from collections.abc import Iterator, Mapping
from typing import Any

from opslib.definitions.deployment import DeploymentDefinition
from opslib.definitions.source import Source
from opslib.drift.compare import Expected
from opslib.drift.fields import Setting, make_setting, whole_asset_name
from opslib.errors import DefinitionError

_AUTH_MODES = {"key": "Key", "aml_token": "AMLToken", "aad_token": "AADToken"}

_PLAIN: Mapping[str, str] = {
    "location": "location",
    "description": "properties.description",
    "public_network_access": "properties.publicNetworkAccess",
    "egress_public_network_access": "properties.egressPublicNetworkAccess",
    "instance_type": "properties.instanceType",
    "instance_count": "sku.capacity",
    "app_insights_enabled": "properties.appInsightsEnabled",
    "model_mount_path": "properties.modelMountPath",
    "scale_settings.type": "properties.scaleSettings.scaleType",
    "code_configuration.scoring_script": "properties.codeConfiguration.scoringScript",
    "request_settings.max_concurrent_requests_per_instance": (
        "properties.requestSettings.maxConcurrentRequestsPerInstance"
    ),
    "data_collector.rolling_rate": "properties.dataCollector.rollingRate",
    "data_collector.request_logging.capture_headers": "properties.dataCollector.requestLogging.captureHeaders",
}
_MILLISECONDS: Mapping[str, str] = {
    "request_settings.request_timeout_ms": "properties.requestSettings.requestTimeout",
    "request_settings.max_queue_wait_ms": "properties.requestSettings.maxQueueWait",
}
_MAPS: Mapping[str, str] = {
    "tags": "tags",
    "properties": "properties.properties",
    "environment_variables": "properties.environmentVariables",
}
_PROBES: Mapping[str, str] = {
    "liveness_probe": "livenessProbe",
    "readiness_probe": "readinessProbe",
    "startup_probe": "startupProbe",
}
_COUNTS = {"failure_threshold": "failureThreshold", "success_threshold": "successThreshold"}
_SECONDS = {"timeout": "timeout", "period": "period", "initial_delay": "initialDelay"}


def endpoint_expected(source: Source, workspace_id: str) -> Expected:
    """Return what an ``endpoint.yml`` expects; traffic that it does not give is left open, runbooks set it.

    Raises
    ------
    DefinitionError
        If it has no name.
    """
    name = source.get("name")
    if not name:
        raise DefinitionError(f"{source.path} has no name: expected a line such as `name: fraud`")
    fields = dict(_common(source))
    mode = source.get("auth_mode")
    if mode is not None:
        fields["properties.authMode"] = _AUTH_MODES.get(str(mode), mode)
    fields |= dict(_identity(source.get("identity") or {}))
    for key, field in (("traffic", "traffic"), ("mirror_traffic", "mirrorTraffic")):
        weights = source.get(key) or {}
        fields |= {
            f"properties.{field}.{str(one).lower()}": int(weight) for one, weight in weights.items() if weight
        }
    left = ["location", "kind"]
    left += [
        f"properties.{field}."
        for key, field in (("traffic", "traffic"), ("mirror_traffic", "mirrorTraffic"))
        if key not in source.content
    ]
    if mode is None:
        left.append("properties.authMode")
    return Expected(
        f"{workspace_id}/onlineEndpoints/{name}", _settings(fields), tuple(left), True, str(source.path)
    )


def deployment_expected(definition: DeploymentDefinition, workspace_id: str) -> Expected:
    """Return what a ``deployment.yml`` expects."""
    source = definition.source
    fields = dict(_common(source))
    fields["sku.capacity"] = definition.instance_count
    left = ["location", "kind", "identity.", "properties.codeConfiguration.codeId"]
    for key, path in (("model", "properties.model"), ("environment", "properties.environmentId")):
        name = _registered(source.get(key))
        if name:
            fields[path] = name
        else:
            left.append(path)
    if not source.get("code_configuration"):
        left.append("properties.codeConfiguration.")
    rate = source.get("data_collector.sampling_rate")
    for name, collection in (source.get("data_collector.collections") or {}).items():
        path = f"properties.dataCollector.collections.{name}."
        left.append(path)
        enabled = str((collection or {}).get("enabled", "true")).lower() == "true"
        fields[f"{path}dataCollectionMode"] = "Enabled" if enabled else "Disabled"
        if rate is not None:
            fields[f"{path}samplingRate"] = float(rate)
    path_of = f"{workspace_id}/onlineEndpoints/{definition.endpoint}/deployments/{definition.name}"
    return Expected(path_of, _settings(fields), tuple(left), True, str(source.path))


def _common(source: Source) -> Iterator[tuple[str, Any]]:
    """Yield the fields that a definition gives, by ARM's names."""
    for key, path in _PLAIN.items():
        if source.get(key) is not None:
            yield path, _plain(key, source.get(key))
    for key, path in _MILLISECONDS.items():
        if source.get(key) is not None:
            yield path, f"PT{float(source.get(key)) / 1000:g}S"
    for key, path in _MAPS.items():
        for name, value in (source.get(key) or {}).items():
            yield f"{path}.{name}", str(value)
    yield from _probes(source)


def _plain(key: str, value: Any) -> Any:
    """Return a number or a switch that is written as text as azure-ai-ml reads it."""
    if key.endswith("max_concurrent_requests_per_instance"):
        return int(value)
    if key == "app_insights_enabled" and isinstance(value, str):
        return value.lower() in {"true", "yes", "on", "1"}
    return value


def _probes(source: Source) -> Iterator[tuple[str, Any]]:
    for key, probe in _PROBES.items():
        for field, value in (source.get(key) or {}).items():
            if field in _COUNTS:
                yield f"properties.{probe}.{_COUNTS[field]}", int(value)
            elif field in _SECONDS:
                yield f"properties.{probe}.{_SECONDS[field]}", f"PT{float(value):g}S"


def _identity(identity: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    if identity.get("type"):
        yield "identity.type", str(identity["type"]).replace("_", "").replace(" ", "")
    for one in identity.get("user_assigned_identities") or []:
        name = str(one.get("resource_id") if isinstance(one, Mapping) else one)
        yield f"identity.userAssignedIdentities.{name.lower()}", name


def _registered(asset: Any) -> str:
    """Return the name and version of a registered asset; empty for a file, an image, or a label such as @latest."""
    if isinstance(asset, Mapping):
        named = asset.get("name") and asset.get("version")
        return f"{asset['name']}:{asset['version']}" if named else ""
    text = str(asset or "")
    name = text.removeprefix("azureml:")
    if "/versions/" in name:
        return whole_asset_name(name)
    return name if name != text and ":" in name and not set("@/") & set(name) else ""


def _settings(fields: Mapping[str, Any]) -> dict[str, Setting]:
    return {path: make_setting(path, value) for path, value in fields.items()}
