"""Role assignments and role definitions, as Microsoft.Authorization returns them."""

from collections.abc import Mapping
from typing import Any

from opslib.access.assignments import Assignment, Role
from opslib.access.grants import Permission
from opslib.azure.connect import Workspace

AUTHORIZATION_API_VERSION = "2022-04-01"
_PROVIDER = "providers/Microsoft.Authorization"


def read_roles(workspace: Workspace, scope: str) -> dict[str, Role]:
    """Read the role definitions that can be assigned on a scope, by their guid."""
    rows = workspace.arm.list(f"{scope}/{_PROVIDER}/roleDefinitions", AUTHORIZATION_API_VERSION)
    return {str(row["name"]).lower(): _role(row) for row in rows}


def read_assignments(workspace: Workspace, scope: str, roles: Mapping[str, Role]) -> tuple[Assignment, ...]:
    """Read the assignments on a scope and above it; those below it are left out (`atScope()`)."""
    return _read(workspace, scope, "atScope()", roles)


def read_assignments_of(
    workspace: Workspace, scope: str, principal: str, roles: Mapping[str, Role]
) -> tuple[Assignment, ...]:
    """Read the assignments of one principal on a scope, above it and below it."""
    return _read(workspace, scope, f"principalId eq '{principal}'", roles)


def _read(workspace: Workspace, scope: str, wanted: str, roles: Mapping[str, Role]) -> tuple[Assignment, ...]:
    path = f"{scope}/{_PROVIDER}/roleAssignments"
    rows = workspace.arm.list(path, AUTHORIZATION_API_VERSION, **{"$filter": wanted})
    return tuple(_assignment(row["properties"], roles) for row in rows)


def _assignment(properties: Mapping[str, Any], roles: Mapping[str, Role]) -> Assignment:
    guid = str(properties["roleDefinitionId"]).rsplit("/", 1)[-1].lower()
    return Assignment(
        principal=str(properties["principalId"]),
        principal_type=str(properties.get("principalType") or "Unknown"),
        role=roles.get(guid) or Role(f"role {guid}", ()),
        scope=str(properties["scope"]),
        condition=str(properties.get("condition") or ""),
    )


def _role(row: Mapping[str, Any]) -> Role:
    properties = row["properties"]
    permissions = tuple(Permission.of(block) for block in properties.get("permissions") or ())
    return Role(str(properties["roleName"]), permissions, custom=properties.get("type") == "CustomRole")
