"""The review runbook: who can do what to an endpoint, what it exposes, and what it runs. It changes nothing."""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import TypeVar

from opslib.access.assignments import Assignment
from opslib.azure.connect import Workspace
from opslib.azure.key_events import read_key_events
from opslib.azure.registered_assets import read_asset
from opslib.azure.role_assignments import read_assignments, read_assignments_of, read_roles
from opslib.azure.workspace_settings import read_workspace_settings
from opslib.errors import OpsError
from opslib.evidence.run.journal import JournalEvent
from opslib.model import Endpoint, Outcome
from opslib.model.surroundings import Asset, Unread
from opslib.parameters.review import ReviewParameters
from opslib.policy.exceptions import Exceptions
from opslib.policy.policy import Policy
from opslib.policy.security import Security
from opslib.review import review as rules
from opslib.review.facts import Facts
from opslib.review.finding import Review, Severity
from opslib.runbooks.run import Run

T = TypeVar("T")


def review_endpoint(run: Run[ReviewParameters], before: Endpoint) -> Review:
    """Read what surrounds the endpoint, and apply every rule."""
    facts = read_facts(run.workspace, before, datetime.now(UTC))
    return run.log(JournalEvent.REVIEWED, review_facts(facts, run.policy))


def review_facts(facts: Facts, policy: Policy | None) -> Review:
    """Apply every rule, with the policy's expectations and exceptions; without one with the defaults."""
    security = policy.security if policy else Security()
    return rules.review(facts, security, Exceptions(policy.exceptions if policy else (), facts.at))


def conclude_review(found: Review, fail_on: str) -> tuple[Outcome, str]:
    """Return the outcome and its reason: failed where an open finding is at or above the given severity.

    Without such a finding it is held where a part that decides could not be read: the finding may be there.
    """
    if fail_on == "none":
        return Outcome.SUCCEEDED, found.sentence
    failing = found.at_least(Severity(fail_on))
    reason = f"{found.sentence}; {len(failing)} at or above {fail_on}, limit 0"
    if not failing and any(one.decides for one in found.unread):
        return Outcome.HELD, f"{reason}, and what was not read may hold more"
    return (Outcome.FAILED if failing else Outcome.SUCCEEDED), reason


def read_facts(workspace: Workspace, endpoint: Endpoint, now: datetime) -> Facts:
    """Read everything that the rules judge; a part that the caller may not read is kept with the reason."""
    roles = try_read(lambda: read_roles(workspace, endpoint.id))
    if isinstance(roles, Unread):
        assignments: tuple[Assignment, ...] | Unread = roles
        identities: dict[str, tuple[Assignment, ...]] | Unread = roles
    else:
        known = roles
        assignments = try_read(lambda: read_assignments(workspace, endpoint.id, known))
        subscription = f"/subscriptions/{workspace.scope.subscription_id}"
        identities = try_read(
            lambda: {
                principal: read_assignments_of(workspace, subscription, principal, known)
                for principal in identity_principals(endpoint)
            }
        )
    return Facts(
        endpoint=endpoint,
        at=now,
        workspace=try_read(lambda: read_workspace_settings(workspace)),
        assignments=assignments,
        identities=identities,
        key_events=try_read(lambda: read_key_events(workspace, endpoint, now)),
        assets=_read_assets(workspace, endpoint),
    )


def identity_principals(endpoint: Endpoint) -> tuple[str, ...]:
    """Return the object ids of an endpoint's managed identities, the system-assigned one first."""
    identity = endpoint.arm.get("identity") or {}
    assigned = (identity.get("userAssignedIdentities") or {}).values()
    found = (identity.get("principalId"), *((one or {}).get("principalId") for one in assigned))
    return tuple(str(principal) for principal in found if principal)


def _read_assets(workspace: Workspace, endpoint: Endpoint) -> dict[str, Asset | Unread]:
    wanted = {
        str(deployment.arm["properties"].get(field) or "")
        for deployment in endpoint.deployments
        for field in ("model", "environmentId")
    }
    return {asset_id.lower(): read_asset(workspace, asset_id) for asset_id in sorted(wanted - {""})}


def try_read(read: Callable[[], T]) -> T | Unread:
    """Return what is read, or why it could not be."""
    try:
        return read()
    except OpsError as error:
        return Unread(str(error))
