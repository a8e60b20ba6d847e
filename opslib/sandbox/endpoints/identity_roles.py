"""The roles that an endpoint's own identity gets with it.

Source: Microsoft Learn, "Authentication and authorization for online endpoints". If the creator may assign roles,
the system-assigned identity gets AcrPull on the workspace's registry, Storage Blob Data Reader on its storage
account, and AzureML Metrics Writer on the workspace. They stay when the endpoint is deleted, as on Azure.
"""

from opslib.sandbox.arm.principals import Principal
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend

ASSIGN = "Microsoft.Authorization/roleAssignments/write"


def grant_artifacts(endpoint: Resource, creator: Principal | None, sandbox: Backend) -> None:
    """Assign the roles to a new endpoint's system-assigned identity, where its creator may assign roles."""
    principal, workspace = (endpoint.body.get("identity") or {}).get("principalId"), ids.parent(endpoint.id)
    if principal is None or creator is None or not sandbox.directory.allows(creator, ASSIGN, workspace):
        return
    providers = f"{workspace.split('/providers/', maxsplit=1)[0]}/providers"
    wanted = {
        "AcrPull": f"{providers}/Microsoft.ContainerRegistry/registries/sandbox",
        "Storage Blob Data Reader": f"{providers}/Microsoft.Storage/storageAccounts/sandbox",
        "AzureML Metrics Writer": workspace,
    }
    for name, scope in wanted.items():
        role = sandbox.directory.role(name)
        if role is not None:
            sandbox.directory.assign(principal, role, scope)
