"""ARM resource ids: built in Azure's spelling, compared without regard to case."""

import os
from collections.abc import Mapping

PROVIDER = "Microsoft.MachineLearningServices"
ENDPOINT_TYPE = f"{PROVIDER}/workspaces/onlineEndpoints"
DEPLOYMENT_TYPE = f"{ENDPOINT_TYPE}/deployments"


def key(resource_id: str) -> str:
    """Return the id in the form in which ids are compared."""
    return "/" + resource_id.strip("/").lower()


def workspace_id(parameters: Mapping[str, str]) -> str:
    """Return the workspace's id from a route's parameters."""
    return (
        f"/subscriptions/{parameters['subscription']}/resourceGroups/{parameters['group']}"
        f"/providers/{PROVIDER}/workspaces/{parameters['workspace']}"
    )


def asset_scope(parameters: Mapping[str, str]) -> str:
    """Return the id of the workspace, or of the registry, that a route's assets are in."""
    if "registry" not in parameters:
        return workspace_id(parameters)
    group = f"/subscriptions/{parameters['subscription']}/resourceGroups/{parameters['group']}"
    return f"{group}/providers/{PROVIDER}/registries/{parameters['registry']}"


def endpoint_id(parameters: Mapping[str, str]) -> str:
    """Return the endpoint's id from a route's parameters."""
    return f"{workspace_id(parameters)}/onlineEndpoints/{parameters['endpoint']}"


def deployment_id(parameters: Mapping[str, str]) -> str:
    """Return the deployment's id from a route's parameters."""
    return f"{endpoint_id(parameters)}/deployments/{parameters['deployment']}"


def new_guid() -> str:
    """Return a random UUID of version 4 (RFC 9562), in a third of the time that `uuid` takes."""
    text = os.urandom(16).hex()
    variant = "89ab"[int(text[16], 16) & 3]
    return f"{text[:8]}-{text[8:12]}-4{text[13:16]}-{variant}{text[17:20]}-{text[20:]}"


def parent(resource_id: str) -> str:
    """Return the id of the resource that this one is a child of."""
    return resource_id.rsplit("/", 2)[0]


def name(resource_id: str) -> str:
    """Return the last segment of the id."""
    return resource_id.rsplit("/", 1)[-1]


def subscription(resource_id: str) -> str:
    """Return the subscription in the id."""
    return resource_id.strip("/").split("/")[1]


def resource_type(resource_id: str) -> str:
    """Return `provider/type/subtype` of an id.

    Examples
    --------
    >>> resource_type("/subscriptions/s/resourceGroups/g/providers/A.B/xs/1/ys/2")
    'A.B/xs/ys'
    """
    parts = resource_id.strip("/").split("/")
    lowered = [part.lower() for part in parts]
    if "providers" not in lowered[:-1]:
        return "Microsoft.Resources/" + "/".join(parts[0::2])
    provider, *rest = parts[len(parts) - lowered[-2::-1].index("providers") - 1 :]
    return "/".join([provider, *rest[0::2]])
