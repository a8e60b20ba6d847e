"""The caller's permissions and the scope of a run as Azure resolves it, read before anything is changed."""

from collections.abc import Iterable
from dataclasses import dataclass

from opslib.access.actions import ScopeLevel
from opslib.access.grants import Permission
from opslib.access.required import MissingAction, RequiredAction, find_missing
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION
from opslib.model import Endpoint

PERMISSIONS_API_VERSION = "2022-04-01"
SUBSCRIPTIONS_API_VERSION = "2022-12-01"
DEFAULT_DATASTORE = "workspaceblobstore"


@dataclass(frozen=True)
class Subscription:
    """A subscription as Azure shows it to the caller; without name and state where the caller cannot see it."""

    id: str
    name: str = ""
    state: str = ""


def missing_actions(
    workspace: Workspace, endpoint: Endpoint, required: Iterable[RequiredAction], storage: str = ""
) -> tuple[MissingAction, ...]:
    """Return the required actions that the caller lacks, each on the resource on which it is done.

    Parameters
    ----------
    workspace, endpoint
        Where the run works; the scopes are taken from the endpoint's id as Azure returned it.
    required
        What the plan needs.
    storage
        ARM id of the storage account that the caller writes to itself; "" where a signature is issued for it.
    """
    wanted, scopes = tuple(required), resolved_scopes(endpoint.id) | {ScopeLevel.STORAGE: storage}
    used = {scopes[one.action.level] for one in wanted}
    return find_missing(wanted, scopes, {scope: read_permissions(workspace, scope) for scope in used})


def read_permissions(workspace: Workspace, scope: str) -> tuple[Permission, ...]:
    """Read the caller's permissions on a scope: one block for each of its assignments there and above."""
    path = f"{scope}/providers/Microsoft.Authorization/permissions"
    return tuple(Permission.of(block) for block in workspace.arm.list(path, PERMISSIONS_API_VERSION))


def resolved_scopes(endpoint_id: str) -> dict[ScopeLevel, str]:
    """Return the ids of an endpoint and of what contains it, from the endpoint's own id.

    Examples
    --------
    >>> scopes = resolved_scopes("/subscriptions/s/resourceGroups/g/providers/P/workspaces/w/onlineEndpoints/e")
    >>> scopes[ScopeLevel.GROUP]
    '/subscriptions/s/resourceGroups/g'
    """
    parts = endpoint_id.split("/")
    return {
        ScopeLevel.ENDPOINT: endpoint_id,
        ScopeLevel.WORKSPACE: "/".join(parts[:-2]),
        ScopeLevel.GROUP: "/".join(parts[:5]),
        ScopeLevel.SUBSCRIPTION: "/".join(parts[:3]),
    }


def identity_storage(workspace: Workspace) -> str:
    """Return the id of the storage account to which the caller uploads as itself; "" if Azure signs uploads.

    Source: a datastore of an identity-based workspace, api-version 2024-07-01-preview, as recorded.
    """
    path = f"{workspace.scope.workspace_id}/datastores/{DEFAULT_DATASTORE}"
    properties = workspace.arm.get(path, API_VERSION)["properties"]
    if (properties.get("credentials") or {}).get("credentialsType") != "None":
        return ""
    scope = workspace.scope
    return (
        f"/subscriptions/{properties.get('subscriptionId') or scope.subscription_id}"
        f"/resourceGroups/{properties.get('resourceGroup') or scope.resource_group}"
        f"/providers/Microsoft.Storage/storageAccounts/{properties['accountName']}"
    )


def read_subscription(workspace: Workspace) -> Subscription:
    """Read the workspace's subscription from the list of those that the caller can see."""
    wanted = workspace.scope.subscription_id
    for row in workspace.arm.list("/subscriptions", SUBSCRIPTIONS_API_VERSION):
        if str(row.get("subscriptionId", "")).lower() == wanted.lower():
            return Subscription(wanted, str(row.get("displayName") or ""), str(row.get("state") or ""))
    return Subscription(wanted)
