"""What a run needs of Azure: a credential, the intended workspace, permissions, a clock that agrees."""

from collections.abc import Iterator
from datetime import timedelta

from opslib.access.actions import ScopeLevel
from opslib.access.grants import is_allowed
from opslib.access.roles import runbook_actions
from opslib.azure.connect import Workspace, connect
from opslib.azure.endpoints import API_VERSION
from opslib.azure.permissions import read_permissions, resolved_scopes
from opslib.azure.server_clock import measure_skew
from opslib.doctor.check import Check, State
from opslib.errors import OpsError
from opslib.parameters import RUNBOOKS

SKEW_WARNING = timedelta(seconds=30)
SKEW_LIMIT = timedelta(minutes=5)
"""Microsoft Entra tokens are refused where clocks differ by more. Source: Microsoft Entra, token lifetimes."""


def check_workspace(target: str) -> Iterator[Check]:
    """Yield the checks of a workspace; without a connection only why there is none."""
    try:
        workspace = connect(target)
    except OpsError as error:
        first, _, fix = str(error).partition(". ")
        yield Check("credentials", State.PROBLEM, first, fix)
        return
    scope = workspace.scope
    yield Check("credentials", State.OK, f"signed in as {scope.principal} at {scope.resource_manager}")
    yield check_clock(workspace)
    try:
        found = workspace.arm.get(scope.workspace_id, API_VERSION)
    except OpsError as error:
        fix = "Check config.json and the subscription (az account show), or request Reader on the resource group."
        yield Check("workspace", State.PROBLEM, str(error).splitlines()[0], fix)
        return
    state = str(found.get("properties", {}).get("provisioningState") or "Succeeded")
    ready = state == "Succeeded"
    yield Check(
        "workspace",
        State.OK if ready else State.WARNING,
        f"{scope.workspace_name} in {scope.resource_group}, {found.get('location')}, {state}",
        "" if ready else "Wait until the workspace is Succeeded.",
    )
    yield check_permissions(workspace)


def check_clock(workspace: Workspace) -> Check:
    """Check this machine's clock against the server's."""
    try:
        skew = measure_skew(workspace)
    except OpsError as error:
        return Check("clock", State.WARNING, str(error), "Check the time of this machine: timedatectl")
    seconds = abs(skew.total_seconds())
    seen = f"{seconds:.0f} s off the server's" if seconds > 1 else "within a second of the server's"
    fix = "Synchronize it: timedatectl set-ntp true"
    if abs(skew) > SKEW_LIMIT:
        return Check("clock", State.PROBLEM, seen, fix)
    if abs(skew) > SKEW_WARNING:
        return Check("clock", State.WARNING, seen, fix)
    return Check("clock", State.OK, seen)


def check_permissions(workspace: Workspace) -> Check:
    """Check for which runbooks the caller has all actions; preflight checks exactly one plan later."""
    scopes = resolved_scopes(f"{workspace.scope.workspace_id}/onlineEndpoints/any")
    scopes[ScopeLevel.ENDPOINT] = scopes[ScopeLevel.WORKSPACE]  # before there is one, what is granted above it
    levels = (ScopeLevel.ENDPOINT, ScopeLevel.WORKSPACE, ScopeLevel.GROUP)
    try:
        held = {scope: read_permissions(workspace, scope) for scope in {scopes[level] for level in levels}}
    except OpsError as error:
        fix = "Request Reader on the resource group."
        return Check("permissions", State.WARNING, str(error).splitlines()[0], fix)
    lacking = {
        runbook: lacks
        for runbook in RUNBOOKS
        if (
            lacks := [
                one.name
                for one in runbook_actions([runbook])
                if one.level in levels and not is_allowed(one.name, held[scopes[one.level]], data=one.data)
            ]
        )
    }
    able = [runbook for runbook in RUNBOOKS if runbook not in lacking]
    if not lacking:
        return Check("permissions", State.OK, f"enough for {', '.join(able)}")
    named = "; ".join(f"{runbook} lacks {_few(lacks)}" for runbook, lacks in lacking.items())
    fix = f"Request the role that this prints: opslib role {' '.join(lacking)}"
    state = State.WARNING if able else State.PROBLEM
    return Check("permissions", state, f"enough for {', '.join(able) or 'none'}; {named}", fix)


def _few(names: list[str]) -> str:
    return ", ".join(names[:2]) + (f" and {len(names) - 2} more" if len(names) > 2 else "")
