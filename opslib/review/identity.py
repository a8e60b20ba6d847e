"""Rules about the endpoint's managed identity: it reads the deployments' artifacts, and nothing else.

Source: Microsoft Learn, "Authentication and authorization for online endpoints": roles of the endpoint identity.
"""

from collections.abc import Iterator

from opslib.access.actions import BLOBS, WORKSPACES
from opslib.access.assignments import Assignment, contains, is_broad
from opslib.access.grants import matches
from opslib.model.surroundings import Unread, WorkspaceSettings
from opslib.policy.security import Security
from opslib.review.facts import Facts
from opslib.review.finding import ReviewFinding, Severity

READ_BLOBS = f"{BLOBS}/read"
PULL_IMAGES = "Microsoft.ContainerRegistry/registries/pull/read"
METRICS = f"{WORKSPACES}/metrics/*/write"

EXPECTED = (
    *(PULL_IMAGES, METRICS, "Microsoft.Storage/storageAccounts/blobServices/containers/read"),
    "Microsoft.Storage/storageAccounts/blobServices/generateUserDelegationKey/action",
    *(f"{WORKSPACES}/connections/listsecrets/action", f"{WORKSPACES}/connections/read"),
)
EXPECTED_DATA = (
    READ_BLOBS,
    "Microsoft.ContainerRegistry/registries/repositories/content/read",
    "Microsoft.ContainerRegistry/registries/repositories/metadata/read",
    "Microsoft.KeyVault/vaults/secrets/getSecret/action",
    "Microsoft.KeyVault/vaults/secrets/readMetadata/action",
)
"""What reading artifacts and injected secrets takes, and reporting metrics."""


def check_identity(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """The endpoint has an identity, with the roles that it needs and no other."""
    del security
    if isinstance(facts.identities, Unread):
        return
    subject = f"endpoint {facts.endpoint.name}"
    if not facts.identities:
        fix = "Create the endpoint with a system-assigned identity: an endpoint's identity is fixed."
        evidence = "it has no managed identity, so that its containers can read nothing without a secret"
        yield ReviewFinding("identity-none", Severity.MEDIUM, subject, evidence, fix)
        return
    held = tuple(one for assignments in facts.identities.values() for one in assignments)
    if not isinstance(facts.workspace, Unread):
        yield from _missing(subject, held, facts.workspace, next(iter(facts.identities)))
    for one in held:
        if excess := find_excess(one):
            severity = Severity.HIGH if any(_writes(action) for action in excess) else Severity.MEDIUM
            yield ReviewFinding(
                "identity-excessive-role",
                severity,
                f"identity {one.principal}",
                f"it holds {one.role.name} on {one.scope}, which grants {', '.join(excess[:3])}"
                f"{f' and {len(excess) - 3} more' if len(excess) > 3 else ''}: the scoring code can do the same",
                f"Remove it: az role assignment delete --assignee {one.principal} --role '{one.role.name}' "
                f"--scope {one.scope}. Grant what the code needs on the one resource that it reads.",
            )
        elif not isinstance(facts.workspace, Unread) and _too_wide(one, facts.workspace):
            yield ReviewFinding(
                "identity-wide-scope",
                Severity.LOW,
                f"identity {one.principal}",
                f"it holds {one.role.name} on {one.scope}, above the one resource that it reads",
                "Assign it on the workspace's registry, or on the container of the workspace's storage account.",
            )


def find_excess(assignment: Assignment) -> tuple[str, ...]:
    """Return what a role grants beyond reading artifacts; what its exclusions take away is not subtracted."""
    return tuple(
        action
        for permission in assignment.role.permissions
        for action in (*_beyond(permission.actions, EXPECTED), *_beyond(permission.data_actions, EXPECTED_DATA))
    )


def _beyond(granted: tuple[str, ...], expected: tuple[str, ...]) -> Iterator[str]:
    return (action for action in granted if not matches(action, expected))


def _writes(action: str) -> bool:
    return not action.lower().endswith("/read")


def _missing(
    subject: str, held: tuple[Assignment, ...], workspace: WorkspaceSettings, principal: str
) -> Iterator[ReviewFinding]:
    wanted = (
        ("AcrPull", workspace.registry, PULL_IMAGES, False, "its image cannot be pulled"),
        ("Storage Blob Data Reader", workspace.storage, READ_BLOBS, True, "its model and code cannot be read"),
    )
    for role, scope, action, data, effect in wanted:
        if scope and not any(
            one.role.allows(action, data=data) and (contains(one.scope, scope) or contains(scope, one.scope))
            for one in held
        ):
            yield ReviewFinding(
                "identity-missing-role",
                Severity.HIGH,
                subject,
                f"no identity of it holds {role} on {scope}: when an instance is started or replaced, {effect}",
                f"az role assignment create --assignee {principal} --role '{role}' --scope {scope}",
            )


def _too_wide(assignment: Assignment, workspace: WorkspaceSettings) -> bool:
    """Return whether an assignment is above registry, storage account and workspace alike."""
    resources = (workspace.registry, workspace.storage, workspace.id)
    return is_broad(assignment.scope) and any(contains(assignment.scope, one) for one in resources)
