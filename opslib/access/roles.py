"""The smallest custom role for some runbooks, as `az role definition create` takes it. Pure.

It grants what every plan of a runbook may need: preflight then checks a caller for exactly one plan.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from opslib.access.actions import (
    BLOBS,
    DEPLOYMENTS,
    ENDPOINTS,
    READ_ACTIVITY,
    READ_AUTOSCALE,
    READ_CAPACITY,
    READ_DIAGNOSTICS,
    READ_LOGS,
    READ_RULES,
    READ_STATE,
    WORKSPACES,
    Action,
    Purpose,
    Upload,
    count_requests,
    find_registered,
    score,
    upload,
)

_COUNT = (*count_requests("request log", "auto"), *count_requests("metrics", "metrics"))
_SCORE = tuple(score(mode) for mode in ("key", "amltoken", "aadtoken"))
_ASSETS = find_registered("models", "environments", "codes")


def _also(words: str, *names: str) -> Purpose:
    return Purpose(words, tuple(Action(name) for name in names))


COMMON = (
    READ_STATE,
    READ_DIAGNOSTICS,
    READ_RULES,
    _also("name the workspace", f"{WORKSPACES}/read"),
    _also("check the caller's permissions", "Microsoft.Authorization/permissions/read"),
    _also("check fired alerts", "Microsoft.AlertsManagement/alerts/read"),
)
"""What preflight reads for every change."""

_RULES = ("Microsoft.Insights/autoscaleSettings", "Microsoft.Insights/metricAlerts")
_CREATE = _also("create and delete a deployment", f"{DEPLOYMENTS}/write", f"{DEPLOYMENTS}/delete")
_TRAFFIC = _also("move traffic", f"{ENDPOINTS}/write")

RUNBOOK_PURPOSES: Mapping[str, tuple[Purpose, ...]] = {
    "deploy": (_CREATE, READ_CAPACITY, READ_LOGS, *_SCORE, *_ASSETS, *upload(Upload, by_identity=True)),
    "validate": _SCORE,
    "canary": (_TRAFFIC, *_COUNT, *_SCORE),
    "scale": (_also("change the number of instances", f"{DEPLOYMENTS}/write"), READ_CAPACITY, *_COUNT),
    "autoscale": (
        _also("change autoscale settings", *(f"{_RULES[0]}/{verb}" for verb in ("write", "delete"))),
        READ_CAPACITY,
    ),
    "rollback": (_TRAFFIC, *_COUNT, *_SCORE),
    "retire": (
        _CREATE,
        READ_ACTIVITY,
        *_COUNT,
        *_ASSETS,
        _also(
            "delete what scales or watches", *(f"{rule}/{verb}" for rule in _RULES for verb in ("write", "delete"))
        ),
    ),
    "size": (READ_AUTOSCALE, READ_CAPACITY, *_COUNT, *_SCORE),
    "inventory": (READ_ACTIVITY, *count_requests("metrics", "metrics")),
    "drift": (READ_ACTIVITY,),
    "review": (
        READ_ACTIVITY,
        _also(
            "read who has access",
            *("Microsoft.Authorization/roleAssignments/read", "Microsoft.Authorization/roleDefinitions/read"),
        ),
        *_ASSETS,
    ),
    "diagnose": (READ_ACTIVITY, READ_LOGS, READ_CAPACITY, *_COUNT, *_ASSETS),
}
"""What each runbook does beside `COMMON`."""


def runbook_actions(runbooks: Iterable[str], *, read_only: bool = False) -> tuple[Action, ...]:
    """Return each action of some runbooks once, in alphabetical order.

    Parameters
    ----------
    read_only
        Only reading: what a dry run needs until its plan, without sending requests to the endpoint.
    """
    purposes = (*COMMON, *(purpose for runbook in runbooks for purpose in RUNBOOK_PURPOSES[runbook]))
    found = {(action.name, action.data): action for purpose in purposes for action in purpose.actions}
    return tuple(found[key] for key in sorted(found) if not read_only or _only_reads(found[key].name))


def custom_role(
    name: str, runbooks: Iterable[str], scopes: Iterable[str], *, read_only: bool = False
) -> dict[str, Any]:
    """Return a custom role in the form of ``az role definition create --role-definition FILE``."""
    wanted = tuple(runbooks)
    actions = runbook_actions(wanted, read_only=read_only)
    does = "Reads what the opslib runbooks read" if read_only else "Runs the opslib runbooks"
    return {
        "Name": name,
        "IsCustom": True,
        "Description": f"{does}: {', '.join(wanted)}.",
        "Actions": [action.name for action in actions if not action.data],
        "NotActions": [],
        "DataActions": [action.name for action in actions if action.data],
        "NotDataActions": [],
        "AssignableScopes": list(scopes),
    }


def _only_reads(name: str) -> bool:
    return (name.endswith("/read") and not name.startswith(BLOBS)) or name == f"{DEPLOYMENTS}/getLogs/action"
