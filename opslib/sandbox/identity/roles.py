"""Role definitions: what a role allows, and the built-in ones that online endpoints meet.

Source: Microsoft Learn, "Azure built-in roles" (general, privileged, AI + machine learning, monitor,
storage, containers), as of 2026-01.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

ML = "Microsoft.MachineLearningServices/workspaces"
STORAGE = "Microsoft.Storage/storageAccounts/blobServices"


@dataclass(frozen=True)
class Role:
    """A role definition with one permission block (`Microsoft.Authorization/roleDefinitions`)."""

    name: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()
    id: str = ""
    custom: bool = False

    def allows(self, action: str) -> bool:
        """Return whether this role grants a control-plane action.

        Examples
        --------
        >>> Role("r", ("a/*",), ("a/*/delete",)).allows("A/b/delete")
        False
        """
        return _any(self.actions, action) and not _any(self.not_actions, action)

    def allows_data(self, action: str) -> bool:
        """Return whether this role grants a data-plane action."""
        return _any(self.data_actions, action) and not _any(self.not_data_actions, action)

    def permission(self) -> dict[str, list[str]]:
        """Return the block as the permissions API shows it."""
        return {
            "actions": list(self.actions),
            "notActions": list(self.not_actions),
            "dataActions": list(self.data_actions),
            "notDataActions": list(self.not_data_actions),
        }

    def render(self) -> dict[str, Any]:
        """Return the definition as ARM shows it."""
        return {
            "id": f"/providers/Microsoft.Authorization/roleDefinitions/{self.id}",
            "type": "Microsoft.Authorization/roleDefinitions",
            "name": self.id,
            "properties": {
                "roleName": self.name,
                "type": "CustomRole" if self.custom else "BuiltInRole",
                "assignableScopes": ["/"],
                "permissions": [self.permission()],
            },
        }


OWNER = Role("Owner", ("*",), id="8e3af657-a8ff-443c-a75c-2fe8c4bcb635")
BUILT_IN = (
    OWNER,
    Role(
        "Contributor",
        ("*",),
        (
            "Microsoft.Authorization/*/Delete",
            "Microsoft.Authorization/*/Write",
            "Microsoft.Authorization/elevateAccess/Action",
        ),
        id="b24988ac-6180-42a0-ab88-20f7382dd24c",
    ),
    Role("Reader", ("*/read",), id="acdd72a7-3385-48ef-bd42-f606fba81ae7"),
    Role(
        "User Access Administrator",
        ("*/read", "Microsoft.Authorization/*"),
        id="18d7d88d-d35e-4fb5-a5c3-7773c20a72d9",
    ),
    Role(
        "AzureML Data Scientist",
        (f"{ML}/*/read", f"{ML}/*/action", f"{ML}/*/delete", f"{ML}/*/write"),
        (
            f"{ML}/delete",
            f"{ML}/write",
            f"{ML}/computes/*/write",
            f"{ML}/computes/*/delete",
            f"{ML}/computes/listKeys/action",
            f"{ML}/listKeys/action",
            f"{ML}/hubs/write",
            f"{ML}/hubs/delete",
            f"{ML}/featurestores/write",
            f"{ML}/featurestores/delete",
        ),
        id="f6c7c914-8db3-469d-8ca1-694a8f32e121",
    ),
    Role("AzureML Metrics Writer", (f"{ML}/metrics/*/write",), id="635dd51f-9968-44d3-b7fb-6d9a6bd613ae"),
    Role("Monitoring Reader", ("*/read",), id="43d0d8ad-25c7-4714-9337-8ba259a9fe05"),
    Role(
        "Storage Blob Data Reader",
        (f"{STORAGE}/containers/read",),
        data_actions=(f"{STORAGE}/containers/blobs/read",),
        id="2a2b9908-6ea1-4ae2-8e65-a410df84e7d1",
    ),
    Role(
        "Storage Blob Data Contributor",
        (
            f"{STORAGE}/containers/delete",
            f"{STORAGE}/containers/read",
            f"{STORAGE}/containers/write",
            f"{STORAGE}/generateUserDelegationKey/action",
        ),
        data_actions=tuple(
            f"{STORAGE}/containers/blobs/{verb}"
            for verb in ("delete", "read", "write", "move/action", "add/action")
        ),
        id="ba92f5b4-2d11-453d-a403-e96b0029c9fe",
    ),
    Role(
        "AcrPull",
        ("Microsoft.ContainerRegistry/registries/pull/read",),
        id="7f951dda-4ed3-4680-a7ca-43fe172d538d",
    ),
)


@lru_cache(maxsize=4096)  # each request to ARM checks the roles of its caller
def _any(patterns: tuple[str, ...], action: str) -> bool:
    return any(_glob(pattern.lower()).fullmatch(action.lower()) for pattern in patterns)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> re.Pattern[str]:
    """Compile an action with wildcards: `*` spans `/`, and `/*/` may be nothing.

    AzureML Data Scientist's `workspaces/computes/*/write` is there to forbid `workspaces/computes/write`.
    """
    text = re.escape(pattern).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*")
    return re.compile(text)
