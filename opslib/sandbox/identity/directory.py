"""The tenant's directory: principals with their secrets, and their role assignments."""

import hmac
import secrets
import uuid
from collections.abc import Iterator
from dataclasses import asdict
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.principals import OPERATOR, Principal, assigned_identity
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import iso, now_us, parse_iso_us
from opslib.sandbox.identity.roles import BUILT_IN, OWNER, Role

PRINCIPALS, ASSIGNMENTS, DEFINITIONS = "principals", "roleAssignments", "roleDefinitions"
AUTHORIZATION = "providers/Microsoft.Authorization"


class Directory:
    """Finds principals, and decides what each may do."""

    def __init__(self, store: Store) -> None:
        self._store = store

    def find(self, identifier: str) -> Principal | None:
        """Return a principal by object id, client id, or the ARM id of a managed identity."""
        if identifier.lower() in (OPERATOR.object_id, OPERATOR.client_id):
            return OPERATOR
        for one in self._store.all(PRINCIPALS):
            values = one.properties
            if identifier.lower() in (values["object_id"], values["client_id"], values.get("resource", "").lower()):
                return _principal(one)
        return self._endpoint_identity(identifier.lower())

    def named(self, name: str) -> Resource | None:
        """Return what is on record of the principal with this name."""
        return next((one for one in self._store.all(PRINCIPALS) if one.properties["name"] == name), None)

    def all(self) -> list[Principal]:
        """Return every principal."""
        return [OPERATOR, *(_principal(one) for one in self._store.all(PRINCIPALS))]

    def add(self, principal: Principal, *, resource: str = "", shown: dict[str, Any] | None = None) -> Resource:
        """Put a principal on record, with a client secret; `shown` is what ARM shows of a managed identity."""
        body = {"properties": {**asdict(principal), "resource": resource}, **(shown or {})}
        kept = {"clientSecret": secrets.token_urlsafe(30)}
        return self._store.put(Resource(f"/principals/{principal.object_id}", PRINCIPALS, body, kept))

    def remove(self, principal: Principal) -> None:
        """Delete a principal: its tokens end, its assignments have no effect."""
        self._store.delete(f"/principals/{principal.object_id}")

    def knows_secret(self, client_id: str, secret: str) -> bool:
        """Return whether a client secret is its principal's."""
        principal = self.find(client_id)
        stored = self._store.get(f"/principals/{principal.object_id}") if principal is not None else None
        return stored is not None and hmac.compare_digest(stored.secrets["clientSecret"].encode(), secret.encode())

    def role(self, wanted: str) -> Role | None:
        """Return a role by its name, its guid, or its ARM id."""
        short = ids.name(wanted).lower()
        return next((role for role in self.roles() if short in (role.id, role.name.lower())), None)

    def roles(self) -> list[Role]:
        """Return every role definition, the built-in ones first."""
        return [*BUILT_IN, *(_role(one) for one in self._store.all(DEFINITIONS))]

    def assign(self, principal_id: str, role: Role, scope: str, **more: Any) -> Resource:
        """Give a principal a role on a scope; the same twice is refused, as Azure does."""
        name = more.pop("name", str(uuid.uuid4()))
        for one in self._store.all(ASSIGNMENTS):
            same = (one.properties["principalId"], ids.name(one.properties["roleDefinitionId"]))
            if (
                same == (principal_id, role.id)
                and ids.key(one.properties["scope"]) == ids.key(scope)
                and _holds(one)
            ):
                raise ArmError(409, "RoleAssignmentExists", "The role assignment already exists.")
        properties = {
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{role.id}",
            "principalId": principal_id,
            "principalType": "ServicePrincipal",
            "scope": scope,
            "condition": None,
            "createdOn": iso(now_us()),
            **more,
        }
        address = f"{scope.rstrip('/')}/{AUTHORIZATION}/{ASSIGNMENTS}/{name}"
        return self._store.put(Resource(address, ASSIGNMENTS, {"properties": properties}))

    def assignments(self) -> list[Resource]:
        """Return the assignments that have not ended."""
        return [one for one in self._store.all(ASSIGNMENTS) if _holds(one)]

    def operator_assignment(self, scope: str) -> Resource:
        """Return the operator's own assignment: Owner of whichever subscription a scope is in."""
        subscription = f"/subscriptions/{ids.subscription(scope)}"
        name = uuid.uuid5(uuid.NAMESPACE_URL, subscription)
        properties = {
            "roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{OWNER.id}",
            "principalId": OPERATOR.object_id,
            "principalType": "User",
            "scope": subscription,
        }
        return Resource(
            f"{subscription}/{AUTHORIZATION}/{ASSIGNMENTS}/{name}", ASSIGNMENTS, {"properties": properties}
        )

    def roles_of(self, principal: Principal, scope: str | None) -> Iterator[Role]:
        """Yield the roles that a principal has on a scope or above it; without a scope: anywhere."""
        if principal == OPERATOR:
            yield OWNER
        for one in self.assignments():
            above = scope is None or (ids.key(scope) + "/").startswith(
                ids.key(one.properties["scope"]).rstrip("/") + "/"
            )
            role = self.role(one.properties["roleDefinitionId"]) if above else None
            if role is not None and one.properties["principalId"] == principal.object_id:
                yield role

    def has_role_in(self, principal: Principal, scope: str) -> bool:
        """Return whether a principal has a role on a scope, above it or below it."""
        wanted = ids.key(scope).rstrip("/") + "/"
        held = (
            ids.key(one.properties["scope"]).rstrip("/") + "/"
            for one in self.assignments()
            if one.properties["principalId"] == principal.object_id
        )
        return principal == OPERATOR or any(wanted.startswith(one) or one.startswith(wanted) for one in held)

    def allows(self, principal: Principal, action: str, scope: str | None) -> bool:
        """Return whether a principal may do something to a resource: any one role is enough."""
        return any(role.allows(action) for role in self.roles_of(principal, scope))

    def allows_data(self, principal: Principal, action: str, scope: str) -> bool:
        """Return whether a principal may do something to a resource's data: Owner alone is not enough."""
        return any(role.allows_data(action) for role in self.roles_of(principal, scope))

    def _endpoint_identity(self, object_id: str) -> Principal | None:
        """Return an endpoint's system-assigned identity, or one assigned to it."""
        for endpoint in self._store.all("onlineEndpoints"):
            identity = endpoint.body.get("identity") or {}
            if identity.get("principalId") == object_id:
                return Principal(object_id, str(uuid.uuid5(uuid.NAMESPACE_URL, object_id)), endpoint.name)
            for name in identity.get("userAssignedIdentities") or {}:
                if (assigned := assigned_identity(name)).object_id == object_id:
                    return assigned
        return None


def _principal(one: Resource) -> Principal:
    values = one.properties
    return Principal(values["object_id"], values["client_id"], values["name"])


def _holds(assignment: Resource) -> bool:
    until = assignment.properties.get("endDateTime")
    return until is None or parse_iso_us(until) > now_us()


def _role(one: Resource) -> Role:
    block = one.properties["permissions"][0]
    fields = ("actions", "notActions", "dataActions", "notDataActions")
    actions, not_actions, data, not_data = (tuple(block.get(field) or ()) for field in fields)
    return Role(one.properties["roleName"], actions, not_actions, data, not_data, one.name.lower(), custom=True)
