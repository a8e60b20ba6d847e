"""What was read of many workspaces: endpoints, changes in the activity log, and what could not be read."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from opslib.model.endpoint import Endpoint


@dataclass(frozen=True)
class Unread:
    """A part that could not be read, and why: it is not empty, it is unknown."""

    part: str
    reason: str


@dataclass(frozen=True)
class EstateScope:
    """Where to look for endpoints; empty fields are no condition.

    Attributes
    ----------
    subscriptions
        Ids of subscriptions.
    groups
        Names of resource groups.
    workspaces
        Names of workspaces.
    endpoint
        Name of an endpoint.
    """

    subscriptions: tuple[str, ...] = ()
    groups: tuple[str, ...] = ()
    workspaces: tuple[str, ...] = ()
    endpoint: str = ""


@dataclass(frozen=True)
class Estate:
    """The endpoints of many workspaces.

    Attributes
    ----------
    source
        Where they were read: "Azure Resource Graph" or "lists".
    endpoints
        Endpoints with their deployments, by id.
    workspaces
        ARM ids of the workspaces that were read, those without endpoints included.
    unread
        What could not be read.
    scope
        Where it was looked for.
    autoscale
        JSON of the autoscale settings of these endpoints' deployments.
    """

    source: str
    endpoints: tuple[Endpoint, ...]
    workspaces: tuple[str, ...]
    unread: tuple[Unread, ...] = ()
    scope: EstateScope = field(default_factory=EstateScope)
    autoscale: tuple[Mapping[str, Any], ...] = field(default=(), repr=False)


@dataclass(frozen=True)
class ActivityEvent:
    """One change of a resource in the activity log.

    `caller` is the name in the caller's token, or its object id where the token has none.
    """

    at: datetime
    resource_id: str
    operation: str
    caller: str
    correlation_id: str


@dataclass(frozen=True)
class ResourceName:
    """The names in an ARM id of a workspace, an endpoint or a deployment; empty where the id has none.

    Names ignore case; here they are as the id has them.
    """

    subscription: str
    group: str
    workspace: str
    endpoint: str = ""
    deployment: str = ""

    @classmethod
    def of(cls, resource_id: str) -> "ResourceName":
        """Read an ARM id.

        >>> ResourceName.of("/subscriptions/s/resourceGroups/g/providers/M/workspaces/w/onlineEndpoints/e").endpoint
        'e'
        """
        parts = resource_id.strip("/").split("/")
        names = {key.lower(): value for key, value in zip(parts[0::2], parts[1::2], strict=False)}
        keys = ("subscriptions", "resourcegroups", "workspaces", "onlineendpoints", "deployments")
        return cls(*(names.get(key, "") for key in keys))


def endpoint_id_of(resource_id: str) -> str:
    """Return the id of the endpoint of an endpoint's or a deployment's id, in lower case, as ids are compared.

    >>> endpoint_id_of("/subscriptions/s/x/onlineEndpoints/E/deployments/blue")
    '/subscriptions/s/x/onlineendpoints/e'
    """
    return resource_id.lower().partition("/deployments/")[0]
