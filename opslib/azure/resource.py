"""One resource as ARM answers with it: member names in any case, values checked, and the body of the PUT after it.

Names are compared without regard to case, as ARM compares them. What is missing or null has a meaning where Azure
leaves it out (recorded: addresses while an endpoint is created, `instanceType` in the answer to an update), and
raises where a change depends on it.
"""

from collections.abc import Mapping
from typing import Any

from opslib.errors import UnexpectedAnswer

Json = dict[str, Any]

_TOP = ("id", "name", "type", "location", "tags", "kind", "sku", "identity", "systemData", "properties")
_SKU = ("name", "tier", "capacity", "family", "size")
_PROPERTIES = (
    *("authMode", "compute", "description", "mirrorTraffic", "properties", "provisioningState"),
    *("publicNetworkAccess", "scoringUri", "swaggerUri", "traffic", "appInsightsEnabled", "codeConfiguration"),
    *("dataCollector", "egressPublicNetworkAccess", "endpointComputeType", "environmentId"),
    *("environmentVariables", "instanceType", "livenessProbe", "model", "modelMountPath", "readinessProbe"),
    *("requestSettings", "scaleSettings", "startupProbe", "targetResourceUri", "enabled"),
    *("scopes", "essentials"),
)
UNSTATED = "Unknown"
"""State of a resource that has no provisioningState; such a change ends with its answer (ARM's contract)."""

_STATES = {
    state.lower(): state
    for state in ("Creating", "Updating", "Scaling", "Deleting", "Succeeded", "Failed", "Canceled")
}
_SERVICE_ONLY = frozenset({"scoringUri", "swaggerUri", "provisioningState"})
_SERVICE_PROPERTIES = frozenset({"azureasyncoperationuri", "azureml.onlineendpointid"})


def read_resource(body: Any, what: str) -> Json:
    """Return a resource with the names that opslib reads in Azure's spelling; other names stay as they are.

    Raises
    ------
    UnexpectedAnswer
        If it is no object, or its `properties` is none.
    """
    if not isinstance(body, dict):
        raise unexpected(what, "a resource (a JSON object)", body)
    resource = spelled(body, _TOP)
    if not isinstance(resource.get("properties"), dict):
        raise unexpected(what, "a resource with an object `properties`", resource.get("properties"))
    resource["properties"] = spelled(resource["properties"], _PROPERTIES)
    if isinstance(resource.get("sku"), dict):
        resource["sku"] = spelled(resource["sku"], _SKU)
    if not isinstance(resource.get("name"), str):
        resource["name"] = what.rstrip("/").rsplit("/", 1)[-1]
    return resource


def provisioning_state(resource: Mapping[str, Any]) -> str:
    """Return a resource's state in Azure's spelling; `UNSTATED` where it has none, an unknown one as it is."""
    state = resource["properties"].get("provisioningState")
    return _STATES.get(state.lower(), state) if isinstance(state, str) and state else UNSTATED


def instance_count(resource: Mapping[str, Any], what: str) -> int:
    """Return a deployment's number of instances.

    Raises
    ------
    UnexpectedAnswer
        If `sku.capacity` is no whole number.
    """
    sku = resource.get("sku")
    return _whole((sku if isinstance(sku, dict) else {}).get("capacity"), f"{what}: sku.capacity")


def weights(value: Any, what: str) -> dict[str, int]:
    """Return a traffic map as whole percents; null is no traffic.

    Raises
    ------
    UnexpectedAnswer
        If it is no map of names to whole numbers.
    """
    if value is None:
        return {}
    if not isinstance(value, dict):
        raise unexpected(what, "a map of deployments to percent", value)
    return {str(name): _whole(weight, f"{what} of {name}") for name, weight in value.items() if weight is not None}


def tags(resource: Mapping[str, Any]) -> dict[str, str]:
    """Return a resource's tags, none where they are null."""
    found = resource.get("tags")
    return {str(name): str(value) for name, value in found.items()} if isinstance(found, dict) else {}


def writable(resource: Mapping[str, Any]) -> Json:
    """Return the body of a PUT from that of a GET, without what only the service sets and without nulls.

    Of an identity only its type and the ids of user-assigned identities are sent, as Microsoft's own clients do.
    """
    properties = {
        name: value
        for name, value in resource["properties"].items()
        if name not in _SERVICE_ONLY and value is not None
    }
    own = properties.get("properties")
    properties["properties"] = {
        name: value
        for name, value in (own if isinstance(own, dict) else {}).items()
        if name.lower() not in _SERVICE_PROPERTIES
    }
    body = {name: resource[name] for name in ("location", "tags", "kind", "sku") if resource.get(name) is not None}
    if isinstance(resource.get("identity"), dict):
        body["identity"] = _identity(spelled(resource["identity"], ("type", "userAssignedIdentities")))
    return body | {"properties": properties}


def _identity(identity: Json) -> Json:
    named = identity.get("userAssignedIdentities")
    assigned: Json = (
        {"userAssignedIdentities": {name: {} for name in named}} if isinstance(named, dict) and named else {}
    )
    return {"type": identity.get("type") or "None", **assigned}


def spelled(values: Mapping[str, Any], names: tuple[str, ...]) -> Json:
    """Return an object with known names in Azure's spelling; of two that differ by case the exact one counts."""
    known = {name.lower(): name for name in names}
    renamed = {known.get(name.lower(), name): value for name, value in values.items() if name not in names}
    return renamed | {name: value for name, value in values.items() if name in names}


def _whole(value: Any, what: str) -> int:
    number = value
    if isinstance(value, str) and value.strip().isdigit():
        number = int(value)
    if isinstance(number, float) and number.is_integer():
        number = int(number)
    if isinstance(number, bool) or not isinstance(number, int):
        raise unexpected(what, "a whole number", value)
    return number


def unexpected(what: str, expected: str, seen: Any) -> UnexpectedAnswer:
    """Return the error that names what was read, what was expected there and what was seen."""
    shown = "nothing" if seen is None else f"{type(seen).__name__} {str(seen)[:120]!r}"
    return UnexpectedAnswer(
        f"{what}: Azure's answer is not understood: expected {expected}, got {shown}. Read the resource with "
        "`az resource show --ids` or in the portal; if it is right there, report this"
    )
