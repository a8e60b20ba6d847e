"""Who calls: the sandbox's tenant and the identities in it."""

import uuid
from dataclasses import dataclass

IDENTITY_SECRET = "identitySecret"  # of an endpoint: stands for its identity at the token endpoint
TENANT_ID = "72f988bf-0000-4000-8000-2d7cd011db47"


@dataclass(frozen=True)
class Principal:
    """An identity that tokens are issued for."""

    object_id: str
    client_id: str
    name: str


OPERATOR = Principal(
    object_id="0b5e0000-0000-4000-8000-0000000000a1",
    client_id="0b5e0000-0000-4000-8000-0000000000c1",
    name="sandbox-operator",
)


def assigned_identity(resource_id: str) -> Principal:
    """Return the principal of a user-assigned managed identity: the same for the same ARM id, for ever."""
    base = resource_id.lower()
    return Principal(
        object_id=str(uuid.uuid5(uuid.NAMESPACE_URL, base + "/principal")),
        client_id=str(uuid.uuid5(uuid.NAMESPACE_URL, base + "/client")),
        name=resource_id.rsplit("/", 1)[-1],
    )
