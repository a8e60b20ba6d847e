"""Scope and permissions of a run: what Azure resolved, and whether the caller may do this plan and its undo."""

from collections.abc import Callable, Iterable

from opslib.access.actions import READ_STATE, Purpose
from opslib.access.required import plan_purposes, require
from opslib.azure.permissions import missing_actions, read_subscription
from opslib.azure.source import Source, find_source
from opslib.errors import ObserveError, PlanError
from opslib.model import Endpoint, Finding, Level, Plan
from opslib.runbooks.run import P, Run
from opslib.runbooks.steps import access_preflight
from opslib.runbooks.steps.step_text import describe_step


def check_scope(run: Run[P], before: Endpoint) -> Finding:
    """Check that the run works on the endpoint that is meant, by the ids that Azure returned."""
    subscription = read_subscription(run.workspace)
    return access_preflight.check_scope(run.workspace.scope, before, subscription.name, subscription.state)


def check_access(
    run: Run[P], before: Endpoint, plan: Callable[[], Plan | None], uses: Iterable[Purpose], storage: str = ""
) -> Finding:
    """Check the caller's permissions for exactly this plan, its undo, and what the run reads.

    Parameters
    ----------
    plan
        Makes the plan; None where the run changes nothing.
    uses
        What the run does besides the plan's steps.
    storage
        ARM id of the storage account that the caller uploads to itself; "" for none.
    """
    try:
        made = plan()
    except PlanError as error:
        return Finding("permissions", Level.WARNING, f"not checked, because there is no plan: {error}")
    steps = plan_purposes(made, before.auth_mode, describe_step) if made else ()
    required = require((READ_STATE, *uses, *steps))
    missing = missing_actions(run.workspace, before, required, storage)
    return access_preflight.check_permissions(missing, run.workspace.scope.principal, len(required))


def source_name(run: Run[P], before: Endpoint, wanted: str) -> str:
    """Return the name of the source from which requests will be counted; "" where it cannot be found out."""
    source = find_known_source(run, before, wanted)
    return source.name if source else ""


def find_known_source(run: Run[P], before: Endpoint, wanted: str) -> Source | None:
    """Return the source from which requests will be counted; None where it cannot be found out."""
    try:
        return find_source(run.workspace, before, wanted)
    except ObserveError:
        return None
