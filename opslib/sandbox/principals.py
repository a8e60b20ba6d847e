"""Who calls: principals and what their roles allow.

One principal is built in today, with the rights of *Owner*. Role assignments will add principals here;
handlers only ever see `Principal`.
"""

import fnmatch
from dataclasses import dataclass

TENANT_ID = "72f988bf-0000-4000-8000-2d7cd011db47"


@dataclass(frozen=True)
class Role:
    """A role definition's permission block (`Microsoft.Authorization/roleDefinitions`)."""

    name: str
    actions: tuple[str, ...]
    not_actions: tuple[str, ...] = ()
    data_actions: tuple[str, ...] = ()
    not_data_actions: tuple[str, ...] = ()

    def allows(self, action: str) -> bool:
        """Answer whether this role grants a control-plane action; case-insensitive, `*` spans `/`."""
        return _any(self.actions, action) and not _any(self.not_actions, action)


@dataclass(frozen=True)
class Principal:
    """An identity that tokens are issued for."""

    object_id: str
    client_id: str
    name: str
    roles: tuple[Role, ...]


OWNER = Role("Owner", actions=("*",), data_actions=("*",))
OPERATOR = Principal(
    object_id="0b5e0000-0000-4000-8000-0000000000a1",
    client_id="0b5e0000-0000-4000-8000-0000000000c1",
    name="sandbox-operator",
    roles=(OWNER,),
)
PRINCIPALS = {OPERATOR.object_id: OPERATOR}


def _any(patterns: tuple[str, ...], action: str) -> bool:
    return any(fnmatch.fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
