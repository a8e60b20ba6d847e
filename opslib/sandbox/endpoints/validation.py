"""What Azure ML accepts in the bodies of endpoints and deployments. Pure: values in, refusals out.

Sources: MicrosoftDocs, how-to-safely-rollout-online-endpoints.md, reference-yaml-endpoint-online.md,
reference-yaml-deployment-managed-online.md, how-to-manage-quotas.md. Where no source gives the words of a
refusal (bad traffic sums, for one) the words are ours, in the envelope that Azure ML uses.
"""

import re
from collections.abc import Collection, Mapping
from typing import Any

from opslib.sandbox.arm.envelope import check_objects
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.core import skus
from opslib.sandbox.core.clock import parse_duration_s
from opslib.sandbox.core.settings import LIMITS

_NAME = re.compile(r"^[a-zA-Z]([-a-zA-Z0-9]*[a-zA-Z0-9])?$")
_ASSET = re.compile(r"^[A-Za-z0-9_][A-Za-z0-9_.-]{0,254}$")
_OBJECTS_OF_PROPERTIES = (
    "properties",
    "keys",
    "codeConfiguration",
    "requestSettings",
    "scaleSettings",
    "livenessProbe",
    "readinessProbe",
    "startupProbe",
    "environmentVariables",
)
AUTH_MODES = ("Key", "AMLToken", "AADToken")


def check_name(kind: str, name: str) -> None:
    """Refuse a name that Azure refuses."""
    good = LIMITS.name_min <= len(name) <= LIMITS.name_max and _NAME.match(name) and "--" not in name
    if not good:
        raise ArmError.validation(
            "Name",
            f"{kind} name '{name}' is invalid: it must be {LIMITS.name_min} to {LIMITS.name_max} characters of "
            "letters, digits and single '-', start with a letter and not end with '-'.",
        )


def check_asset(kind: str, name: str, version: str) -> None:
    """Refuse an asset's name or version that Azure refuses."""
    if not _ASSET.match(name) or not _ASSET.match(version):
        raise ArmError.bad_request(
            f"The {kind} name '{name}' or version '{version}' is invalid: use letters, digits, '-', '_', '.', "
            "at most 255 of them, starting with a letter or digit."
        )


def check_endpoint(body: Mapping[str, Any], before: Mapping[str, Any] | None, deployments: Collection[str]) -> None:
    """Refuse an endpoint body that Azure refuses.

    Parameters
    ----------
    body
        The body sent.
    before
        The stored body; None when the endpoint is new.
    deployments
        Names of the endpoint's deployments, lower case.
    """
    check_objects(body.get("properties") or {}, _OBJECTS_OF_PROPERTIES)
    if not isinstance(body.get("location"), str):
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    properties = _mapping(body, "properties")
    if properties.get("authMode") not in AUTH_MODES:
        raise ArmError.validation(
            "AuthMode", f"AuthMode must be one of {', '.join(AUTH_MODES)}, got {properties.get('authMode')!r}."
        )
    if before is not None:
        _immutable("AuthMode", before["properties"]["authMode"], properties["authMode"])
        _immutable("Location", before["location"].lower(), body["location"].lower().replace(" ", ""))
    traffic = _percentages("Traffic", properties.get("traffic"), deployments)
    mirror = _percentages("MirrorTraffic", properties.get("mirrorTraffic"), deployments)
    _check_traffic(traffic)
    _check_mirror(mirror, traffic)


def _check_traffic(traffic: Mapping[str, int]) -> None:
    total = sum(traffic.values())
    if total not in (0, 100):
        raise ArmError.validation(
            "Traffic", f"The sum of traffic percentages must be 0 or 100, got {total} ({dict(traffic)})."
        )


def _check_mirror(mirror: Mapping[str, int], traffic: Mapping[str, int]) -> None:
    mirrored = {name: percent for name, percent in mirror.items() if percent > 0}
    if len(mirrored) > 1:
        raise ArmError.validation(
            "MirrorTraffic", f"Traffic can be mirrored to one deployment only, got {sorted(mirrored)}."
        )
    for name, percent in mirrored.items():
        if percent > LIMITS.mirror_percent:
            raise ArmError.validation(
                "MirrorTraffic", f"Mirror traffic must be at most {LIMITS.mirror_percent} percent, got {percent}."
            )
        if traffic.get(name, 0) > 0:
            raise ArmError.validation(
                "MirrorTraffic",
                f"Deployment '{name}' cannot receive live and mirror traffic at the same time: set one to 0.",
            )


def _percentages(field: str, value: Any, deployments: Collection[str]) -> dict[str, int]:
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise ArmError.validation(field, f"{field} must map deployment names to percentages.")
    for name, percent in value.items():
        if isinstance(percent, bool) or not isinstance(percent, int) or not 0 <= percent <= 100:
            raise ArmError.validation(
                field, f"{field} of '{name}' must be an integer from 0 to 100, got {percent!r}."
            )
        if name.lower() not in deployments:
            raise ArmError.validation(
                field, f"{field} names deployment '{name}', which does not exist in this endpoint."
            )
    lowered = {name.lower(): percent for name, percent in value.items()}
    if len(lowered) != len(value):
        raise ArmError.validation(field, f"{field} names a deployment twice: {sorted(value)}.")
    return lowered


def check_deployment(body: Mapping[str, Any], before: Mapping[str, Any] | None) -> None:
    """Refuse a deployment body that Azure refuses; what it refers to is checked by the handler."""
    check_objects(body.get("properties") or {}, _OBJECTS_OF_PROPERTIES)
    if not isinstance(body.get("location"), str):
        raise ArmError(400, "LocationRequired", "The location property is required for this definition.")
    properties = _mapping(body, "properties")
    if properties.get("endpointComputeType", "Managed") != "Managed":
        raise ArmError.not_runnable(
            f"This is a {properties['endpointComputeType']} online deployment, which runs on a cluster of the "
            "user's: the sandbox runs managed online deployments only (endpointComputeType Managed)."
        )
    sku = skus.find(str(properties.get("instanceType")))
    if sku is None:
        raise ArmError.validation(
            "VmSize",
            f"The VM size '{properties.get('instanceType')}' is not supported. List the supported ones with "
            "GET .../locations/{location}/vmSizes.",
            inner="InferencingClientCreateDeploymentFailed",
        )
    if before is not None:
        _immutable("InstanceType", before["properties"]["instanceType"].lower(), sku.name.lower())
    check_capacity(_mapping(body, "sku").get("capacity"))
    _check_scale_settings(properties.get("scaleSettings"))
    _check_request_settings(properties.get("requestSettings") or {})
    for probe in ("livenessProbe", "readinessProbe", "startupProbe"):
        _check_probe(probe, properties.get(probe) or {})
    variables = properties.get("environmentVariables") or {}
    if not all(isinstance(value, str) for value in variables.values()):
        raise ArmError.validation("EnvironmentVariables", "Environment variables must be strings: quote them.")


def check_capacity(capacity: Any) -> None:
    """Refuse an instance count out of Azure's range."""
    most = LIMITS.instances_per_deployment
    if isinstance(capacity, bool) or not isinstance(capacity, int) or not 1 <= capacity <= most:
        raise ArmError.validation(
            "InstanceCount",
            f"The instance count (sku.capacity) must be an integer from 1 to {most}, got {capacity!r}.",
        )


def _check_scale_settings(settings: Any) -> None:
    kind = (settings or {}).get("scaleType", "Default")
    if kind != "Default":
        raise ArmError.validation(
            "ScaleSettings", f"Scale type '{kind}' is not supported for managed online deployments: use Default."
        )


def _check_request_settings(settings: Mapping[str, Any]) -> None:
    timeout_s = _duration("RequestTimeout", settings.get("requestTimeout") or "PT5S")
    if not 0 < timeout_s <= LIMITS.request_timeout_s:
        raise ArmError.validation(
            "RequestTimeout",
            f"The request timeout must be above 0 and at most {LIMITS.request_timeout_s:g} s, got {timeout_s:g} s.",
        )
    concurrent = settings.get("maxConcurrentRequestsPerInstance")
    concurrent = 1 if concurrent is None else concurrent
    if isinstance(concurrent, bool) or not isinstance(concurrent, int) or concurrent < 1:
        raise ArmError.validation(
            "MaxConcurrentRequestsPerInstance", f"It must be an integer of at least 1, got {concurrent!r}."
        )
    _duration("MaxQueueWait", settings.get("maxQueueWait") or "PT0.5S")


def _check_probe(field: str, probe: Mapping[str, Any]) -> None:
    for part, least in (("initialDelay", 1), ("timeout", 1), ("period", 1)):
        if probe.get(part) is not None and _duration(f"{field}.{part}", probe[part]) < least:
            raise ArmError.validation(field, f"{part} must be at least {least} second, got {probe[part]}.")
    for part in ("failureThreshold", "successThreshold"):
        count = probe.get(part, 1)
        if count is not None and (not isinstance(count, int) or count < 1):
            raise ArmError.validation(field, f"{part} must be an integer of at least 1, got {count!r}.")
    if field == "livenessProbe" and probe.get("successThreshold") not in (None, 1):
        raise ArmError.validation(field, "The success threshold of a liveness probe must be 1.")


def _duration(field: str, value: Any) -> float:
    try:
        return parse_duration_s(str(value))
    except ValueError as error:
        raise ArmError.validation(field, f"{field}: {error}.") from error


def _immutable(field: str, before: str, after: str) -> None:
    if before != after:
        raise ArmError.validation(field, f"{field} cannot be changed from '{before}' to '{after}'.")


def _mapping(body: Mapping[str, Any], field: str) -> Mapping[str, Any]:
    value = body.get(field)
    if not isinstance(value, dict):
        raise ArmError.invalid_request(f"The required object '{field}' is missing from the body.")
    return value
