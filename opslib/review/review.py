"""A review: every rule over what was read, and the policy's exceptions."""

from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace

from opslib.model.surroundings import Unread
from opslib.policy.exceptions import Exceptions, describe_expired
from opslib.policy.security import Security
from opslib.review.credentials import check_key_age, check_key_reads, check_mode, check_plain_secrets
from opslib.review.facts import Facts
from opslib.review.finding import Review, ReviewFinding, Severity, UnreadPart
from opslib.review.holders import check_holders, list_access
from opslib.review.identity import check_identity
from opslib.review.lineage import check_lineage
from opslib.review.network import check_egress, check_public_access, check_workspace_access

Check = Callable[[Facts, Security], Iterator[ReviewFinding]]

CHECKS: tuple[Check, ...] = (
    check_mode,
    check_key_age,
    check_key_reads,
    check_plain_secrets,
    check_public_access,
    check_egress,
    check_workspace_access,
    check_identity,
    check_holders,
    check_lineage,
)

RULES: Mapping[str, str] = {
    "auth-keys": "The endpoint authenticates callers by keys.",
    "auth-tokens": "The endpoint authenticates callers by tokens that do not name them.",
    "key-age": "A key is older than the policy allows, or its age cannot be known.",
    "key-reads": "The keys were fetched.",
    "secret-in-variable": "An environment variable holds a secret in plain text.",
    "secret-in-tag": "A tag, property or description holds a secret in plain text.",
    "public-endpoint": "The scoring address can be reached from the internet.",
    "open-egress": "The deployment's code can send data to any address.",
    "workspace-isolation": "The workspace's managed network is not isolated.",
    "workspace-public": "The workspace can be reached from the internet.",
    "identity-none": "The endpoint has no managed identity.",
    "identity-missing-role": "The endpoint's identity cannot read its artifacts.",
    "identity-excessive-role": "The endpoint's identity may do more than read its artifacts.",
    "identity-wide-scope": "The endpoint's identity reads more than its own workspace's artifacts.",
    "access-grants": "A principal can grant roles on the endpoint.",
    "access-broad": "A principal can change the endpoint through a role above the workspace.",
    "access-person": "A person can change the endpoint at any time.",
    "access-keys": "A principal that does not operate the endpoint can read its keys.",
    "access-unexpected": "A principal that the policy does not name can change the endpoint.",
    "model-unregistered": "The model is not registered.",
    "model-missing": "The model is no longer registered.",
    "model-unapproved": "The model version is not approved.",
    "environment-unregistered": "The environment is not registered.",
    "environment-missing": "The environment is no longer registered.",
    "image-mutable": "The image's tag can be moved.",
    "packages-unpinned": "Packages of the environment have no fixed version.",
    "exception-expired": "An exception of the policy has expired.",
}
"""Every rule's id, and what it means where it fires."""


def review(facts: Facts, security: Security, exceptions: Exceptions) -> Review:
    """Apply every rule; a finding that the policy accepts is kept, with until when and by whom."""
    found = [
        replace(one, accepted=exceptions.accepted(one.rule)) for check in CHECKS for one in check(facts, security)
    ]
    found += [
        ReviewFinding(
            "exception-expired",
            Severity.MEDIUM,
            f"policy of {facts.endpoint.name}",
            describe_expired(exception),
            "Fix what it accepted and remove it, or have its owner renew it with a new date.",
        )
        for exception in exceptions.expired
    ]
    ordered = sorted(found, key=lambda one: (one.severity.rank, bool(one.accepted)))
    return Review(facts.endpoint.id, tuple(ordered), list_access(facts), tuple(_unread(facts)))


def _unread(facts: Facts) -> Iterator[UnreadPart]:
    """Yield what could not be read, and what is never in Azure Resource Manager."""
    parts = {
        "workspace settings": facts.workspace,
        "role assignments": facts.assignments,
        "roles of the endpoint's identity": facts.identities,
        "key events of the activity log": facts.key_events,
    }
    for name, part in parts.items():
        if isinstance(part, Unread):
            yield UnreadPart(name, part.reason, decides=True)
    for asset_id, asset in facts.assets.items():
        if isinstance(asset, Unread):
            yield UnreadPart(f"asset {asset_id}", asset.reason)
    if any(access.assignment.principal_type == "Group" for access in list_access(facts)):
        yield UnreadPart("members of groups", "Microsoft Graph has them, Azure Resource Manager does not")
    if any(access.assignment.condition for access in list_access(facts)):
        yield UnreadPart("conditions of assignments", "they are not evaluated: such an assignment may grant less")
