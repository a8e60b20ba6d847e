"""Which required actions a caller lacks, on which resource, and the smallest role that grants them. Pure."""

import shlex
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from opslib.access.actions import BLOBS, WORKSPACES, Action, Purpose, ScopeLevel, step_actions
from opslib.access.grants import Permission, is_allowed
from opslib.model import Plan, Step

SHOWN_PURPOSES = 2
"""Purposes that a message names for one action; it counts the others [count]."""


@dataclass(frozen=True)
class RequiredAction:
    """An action, everything that needs it, and whether the run can go on without it."""

    action: Action
    needed_for: tuple[str, ...]
    optional: bool


@dataclass(frozen=True)
class MissingAction:
    """A required action that the caller lacks.

    Attributes
    ----------
    required
        The action and what needs it.
    scope
        ARM id of the resource on which it is done, as Azure returned it.
    """

    required: RequiredAction
    scope: str

    @property
    def sentence(self) -> str:
        """The action, its scope, and the steps that need it."""
        purposes, action = self.required.needed_for, self.required.action
        more = len(purposes) - SHOWN_PURPOSES
        named = "; ".join(purposes[:SHOWN_PURPOSES]) + (f"; and {more} more" if more > 0 else "")
        kind = "data action " if action.data else ""
        return f"{kind}{action.name} on {self.scope}, needed for: {named}"


def plan_purposes(plan: Plan, auth_mode: str, describe: Callable[[Step], str]) -> tuple[Purpose, ...]:
    """Return a purpose for each step and each step of the undo."""
    named = [
        *((f"step {number}", step) for number, step in enumerate(plan.steps, start=1)),
        *(("undo", step) for step in plan.undo),
    ]
    return tuple(Purpose(f"{name}: {describe(step)}", step_actions(step, auth_mode)) for name, step in named)


def require(purposes: Iterable[Purpose]) -> tuple[RequiredAction, ...]:
    """Return each action once, with everything that needs it; optional only where nothing else needs it."""
    by_action: dict[Action, list[Purpose]] = {}
    for purpose in purposes:
        for action in purpose.actions:
            by_action.setdefault(action, []).append(purpose)
    return tuple(
        RequiredAction(action, tuple(one.words for one in needing), all(one.optional for one in needing))
        for action, needing in by_action.items()
    )


def find_missing(
    required: Sequence[RequiredAction],
    scopes: Mapping[ScopeLevel, str],
    permissions: Mapping[str, Sequence[Permission]],
) -> tuple[MissingAction, ...]:
    """Return the required actions that no permission of the caller grants.

    Parameters
    ----------
    required
        What the plan needs.
    scopes
        ARM id of the resource at each level.
    permissions
        The caller's permissions on each of these ids.
    """
    return tuple(
        MissingAction(one, scopes[one.action.level])
        for one in required
        if not is_allowed(one.action.name, permissions[scopes[one.action.level]], data=one.action.data)
    )


def smallest_fix(missing: Sequence[MissingAction], principal: str) -> str:
    """Return the role assignments that grant what is missing: for each scope the smallest built-in role.

    The actions themselves make a smaller, custom role.
    """
    by_scope: dict[str, list[Action]] = {}
    for one in missing:
        by_scope.setdefault(one.scope, []).append(one.required.action)
    create = f"az role assignment create --assignee {shlex.quote(principal)}"
    commands = "; ".join(
        f"{create} --role {shlex.quote(smallest_role(actions))} --scope {scope}"
        for scope, actions in by_scope.items()
    )
    return (
        "Request a custom role with these actions, or the smallest built-in role that has them, which takes effect "
        f"within an hour: {commands}"
    )


def smallest_role(actions: Sequence[Action]) -> str:
    """Return the first of the built-in roles, smallest first, that grants all the actions."""
    return next(
        name for name, role in _BUILT_IN if all(role.allows(action.name, data=action.data) for action in actions)
    )


_BUILT_IN: tuple[tuple[str, Permission], ...] = (
    ("Reader", Permission(("*/read",))),
    (
        "AzureML Data Scientist",
        Permission(
            tuple(f"{WORKSPACES}/*/{verb}" for verb in ("read", "action", "delete", "write")),
            (f"{WORKSPACES}/delete", f"{WORKSPACES}/write"),
        ),
    ),
    (
        "Storage Blob Data Contributor",
        Permission(data_actions=tuple(f"{BLOBS}/{verb}" for verb in ("read", "write", "delete"))),
    ),
    ("Contributor", Permission(("*",), ("Microsoft.Authorization/*/write", "Microsoft.Authorization/*/delete"))),
    ("Owner", Permission(("*",), data_actions=("*",))),
)
"""Built-in roles, as far as this decides among them. Source: Microsoft Learn, "Azure built-in roles"."""
