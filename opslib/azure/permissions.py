"""The caller's permissions on an endpoint, read from Azure before anything is changed."""

from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from typing import Any

from opslib.azure.connect import Workspace
from opslib.model import Endpoint

PERMISSIONS_API_VERSION = "2022-04-01"
PROVIDER = "Microsoft.MachineLearningServices/workspaces/onlineEndpoints"

ACTIONS = {
    "deploy": (f"{PROVIDER}/read", f"{PROVIDER}/deployments/write", f"{PROVIDER}/deployments/delete"),
    "canary": (f"{PROVIDER}/read", f"{PROVIDER}/write"),
    "scale": (f"{PROVIDER}/read", f"{PROVIDER}/deployments/write"),
    "rollback": (f"{PROVIDER}/read", f"{PROVIDER}/write"),
}
"""Actions that each runbook needs. Source: "Manage access to Azure Machine Learning workspaces"."""


def missing_actions(workspace: Workspace, endpoint: Endpoint, runbook: str) -> tuple[str, ...]:
    """Return the actions that the runbook needs on the endpoint and the caller lacks."""
    path = f"{endpoint.id}/providers/Microsoft.Authorization/permissions"
    permissions = workspace.arm.list(path, PERMISSIONS_API_VERSION)
    return tuple(action for action in ACTIONS[runbook] if not is_allowed(action, permissions))


def is_allowed(action: str, permissions: Iterable[Mapping[str, Any]]) -> bool:
    """Return whether an entry grants an action that its own `notActions` do not exclude.

    Source: "Permissions - List For Resource". Names ignore case; ``*`` also matches slashes.
    """
    return any(
        _matches(action, entry.get("actions") or []) and not _matches(action, entry.get("notActions") or [])
        for entry in permissions
    )


def _matches(action: str, patterns: Iterable[str]) -> bool:
    return any(fnmatchcase(action.lower(), pattern.lower()) for pattern in patterns)
