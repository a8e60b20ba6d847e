"""Who holds which role on a resource, and what each of them may do to an endpoint. Pure."""

from collections.abc import Iterable
from dataclasses import dataclass
from enum import StrEnum

from opslib.access.actions import DEPLOYMENTS, ENDPOINTS
from opslib.access.grants import Permission, is_allowed
from opslib.displayed import Displayed


@dataclass(frozen=True)
class Role:
    """A role definition."""

    name: str
    permissions: tuple[Permission, ...]
    custom: bool = False

    def allows(self, action: str, *, data: bool = False) -> bool:
        """Return whether the role grants an action."""
        return is_allowed(action, self.permissions, data=data)


@dataclass(frozen=True)
class Assignment:
    """A role that a principal holds on a scope and on everything below it.

    Attributes
    ----------
    principal, principal_type
        Object id, and ``User``, ``Group`` or ``ServicePrincipal`` as Azure names it.
    role, scope
        What it holds, and the ARM id where it was assigned.
    condition
        The assignment's condition, which is not evaluated here; "" for none.
    """

    principal: str
    principal_type: str
    role: Role
    scope: str
    condition: str = ""


class Capability(StrEnum):
    """What a principal may do to an endpoint."""

    CHANGE = "create and update"
    DELETE = "delete"
    INVOKE = "invoke"
    READ_KEYS = "read keys"
    CHANGE_KEYS = "regenerate keys"
    GRANT = "grant roles"


_ACTIONS = {
    Capability.CHANGE: (f"{ENDPOINTS}/write", f"{DEPLOYMENTS}/write"),
    Capability.DELETE: (f"{ENDPOINTS}/delete", f"{DEPLOYMENTS}/delete"),
    Capability.CHANGE_KEYS: (f"{ENDPOINTS}/regenerateKeys/action",),
    Capability.GRANT: ("Microsoft.Authorization/roleAssignments/write",),
}
_INVOKE = {
    "key": f"{ENDPOINTS}/listKeys/action",
    "amltoken": f"{ENDPOINTS}/token/action",
    "aadtoken": f"{ENDPOINTS}/score/action",
}


@dataclass(frozen=True)
class Access:
    """What one assignment lets its principal do to an endpoint."""

    assignment: Assignment
    direct: bool
    capabilities: tuple[Capability, ...]

    def can(self, capability: Capability) -> bool:
        """Return whether it gives a capability."""
        return capability in self.capabilities

    @property
    def origin(self) -> str:
        """The role and where it was assigned."""
        scope = self.assignment.scope
        return f"{self.assignment.role.name}, " + ("assigned here" if self.direct else f"inherited from {scope}")


class HeldAccess(Displayed, tuple[Access, ...]):
    """What each assignment lets its principal do, the nearest scopes first."""

    __slots__ = ()


def find_access(assignments: Iterable[Assignment], endpoint_id: str, auth_mode: str) -> tuple[Access, ...]:
    """Return the assignments that let their principal change, delete, invoke or grant; readers are left out."""
    found = (
        Access(one, is_same(one.scope, endpoint_id), find_capabilities(one.role, auth_mode)) for one in assignments
    )
    return tuple(one for one in found if one.capabilities)


def find_capabilities(role: Role, auth_mode: str) -> tuple[Capability, ...]:
    """Return what a role lets its holder do to an endpoint of this authentication mode."""
    granted = {name for name, actions in _ACTIONS.items() if any(role.allows(action) for action in actions)}
    if role.allows(_INVOKE.get(auth_mode.lower(), _INVOKE["aadtoken"])):
        granted.add(Capability.INVOKE)
    if auth_mode.lower() == "key" and role.allows(_INVOKE["key"]):
        granted.add(Capability.READ_KEYS)
    return tuple(one for one in Capability if one in granted)


def is_same(one: str, other: str) -> bool:
    """Return whether two ARM ids name the same resource."""
    return one.strip("/").lower() == other.strip("/").lower()


_MANAGEMENT_GROUPS = "providers/microsoft.management/managementgroups/"


def is_broad(scope: str) -> bool:
    """Return whether a scope is above single resources: a resource group, a subscription or a management group."""
    place = scope.strip("/").lower()
    return place.startswith(_MANAGEMENT_GROUPS) or "/providers/" not in f"/{place}"


def contains(scope: str, resource: str) -> bool:
    """Return whether a scope is a resource's own or above it.

    A management group has no id in common with what is in it. Azure returns the assignments of those above only.

    Examples
    --------
    >>> contains("/subscriptions/s", "/subscriptions/S/resourceGroups/g")
    True
    >>> contains("/subscriptions/s", "/subscriptions/s2")
    False
    """
    above, below = scope.strip("/").lower(), resource.strip("/").lower()
    return not above or above.startswith(_MANAGEMENT_GROUPS) or f"{below}/".startswith(f"{above}/")
