"""Findings about the scope of a run and the caller's permissions on it. Pure: what was read comes in."""

from collections.abc import Sequence

from opslib.access.required import MissingAction, smallest_fix
from opslib.model import Endpoint, Finding, Level, Scope


def check_scope(scope: Scope, endpoint: Endpoint, subscription: str, state: str) -> Finding:
    """Check that Azure resolved the names of the run to the endpoint that is meant.

    Parameters
    ----------
    scope
        The workspace as it was given.
    endpoint
        The endpoint as Azure returned it.
    subscription, state
        The subscription's display name and state; "" where the caller cannot see them.
    """
    named = f" ({subscription})" if subscription else ""
    evidence = f"{endpoint.id} in {endpoint.arm.get('location') or 'an unknown region'}; subscription{named}"
    expected = f"{scope.workspace_id}/onlineEndpoints/{endpoint.name}"
    if endpoint.id.lower() != expected.lower():
        return Finding.blocker(
            "scope",
            f"Azure returned {endpoint.id}, expected {expected}",
            "Correct the workspace's config.json or the endpoint's name.",
        )
    if state and state.lower() != "enabled":
        return Finding.blocker(
            "scope",
            f"{evidence} is {state}, expected Enabled",
            "A subscription that is not enabled refuses changes: have its owner enable it.",
        )
    if endpoint.id != expected:
        return Finding(
            "scope",
            Level.OK,
            f"{evidence}; it was given as {expected}",
            "Azure's names ignore case; use its spelling.",
        )
    return Finding.ok("scope", evidence)


def check_permissions(missing: Sequence[MissingAction], principal: str, actions: int) -> Finding:
    """Check that the principal has every action that the plan and its undo need.

    Parameters
    ----------
    missing
        Actions that it lacks.
    principal
        Who runs this.
    actions
        How many actions were checked.
    """
    if not missing:
        return Finding.ok("permissions", f"{principal} has all {actions} actions that this plan and its undo need")
    needed = [one for one in missing if not one.required.optional]
    evidence = (
        f"{principal} lacks {len(missing)} of {actions} actions: {'. '.join(one.sentence for one in missing)}"
    )
    fix = smallest_fix(missing, principal)
    if needed:
        return Finding.blocker("permissions", evidence, fix)
    return Finding("permissions", Level.WARNING, f"{evidence}. The run goes on without", fix)
