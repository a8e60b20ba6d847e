"""What a set of permissions grants, by the rules of Azure role-based access control.

Source: Microsoft Learn, "Understand Azure role definitions" and REST "Permissions - List For Resource".
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any


@dataclass(frozen=True)
class Permission:
    """One block of permissions: of a role definition, or of one assignment of the caller's."""

    actions: tuple[str, ...] = ()
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    @classmethod
    def of(cls, block: Mapping[str, Any]) -> "Permission":
        """Read a block as Azure writes it."""
        fields = ("actions", "notActions", "dataActions", "notDataActions")
        return cls(*(tuple(block.get(field) or ()) for field in fields))

    def allows(self, action: str, *, data: bool = False) -> bool:
        """Return whether this block grants an action that its own exclusions do not take away.

        Examples
        --------
        >>> role = Permission(("Microsoft.A/xs/*/read", "Microsoft.A/xs/*/write"), ("Microsoft.A/xs/write",))
        >>> role.allows("Microsoft.A/xs/ys/write"), role.allows("microsoft.a/xs/write"), role.allows("*/delete")
        (True, False, False)
        """
        granted, excluded = (self.data_actions, self.not_data_actions) if data else (self.actions, self.not_actions)
        return matches(action, granted) and not matches(action, excluded)


def is_allowed(action: str, permissions: Sequence[Permission], *, data: bool = False) -> bool:
    """Return whether any block grants an action: exclusions hold only within their own block."""
    return any(permission.allows(action, data=data) for permission in permissions)


def matches(action: str, patterns: Iterable[str]) -> bool:
    """Return whether an action's name matches any pattern, in any case."""
    return any(_glob(pattern.lower()).fullmatch(action.lower()) for pattern in patterns)


@lru_cache(maxsize=1024)
def _glob(pattern: str) -> "re.Pattern[str]":
    """Compile an action with wildcards: `*` spans `/`, and `/*/` may be nothing.

    The built-in role AzureML Data Scientist reads the workspace itself by `workspaces/*/read`.
    """
    return re.compile(re.escape(pattern).replace(r"/\*/", "/(?:.*/)?").replace(r"\*", ".*"))
