"""Rules about who can change, delete, invoke, read keys or grant roles: directly, inherited, or as a pipeline."""

from collections.abc import Iterator

from opslib.access.assignments import Access, Capability, HeldAccess, find_access, is_broad
from opslib.model.surroundings import Unread
from opslib.policy.security import Security
from opslib.review.facts import Facts
from opslib.review.finding import ReviewFinding, Severity

_STRONG = (Capability.CHANGE, Capability.DELETE)
_LEAST = "AzureML Data Scientist on the workspace, or a custom role with the actions of its runbooks, is enough."


def list_access(facts: Facts) -> HeldAccess:
    """Return who may do what, the assignments on the endpoint itself first."""
    if isinstance(facts.assignments, Unread):
        return HeldAccess()
    own = (
        {principal.lower() for principal in facts.identities} if not isinstance(facts.identities, Unread) else set()
    )
    found = find_access(facts.assignments, facts.endpoint.id, facts.endpoint.auth_mode)
    others = (one for one in found if one.assignment.principal.lower() not in own)
    return HeldAccess(
        sorted(others, key=lambda one: (not one.direct, -len(one.assignment.scope), one.assignment.principal))
    )


def check_holders(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """No principal holds more than its work needs, and only the policy's operators change the endpoint."""
    for access in list_access(facts):
        yield from _check_grant(access)
        yield from _check_breadth(access)
        yield from _check_person(access)
        yield from _check_keys(access, facts.endpoint.auth_mode)
        yield from _check_operator(access, security)


def _check_grant(access: Access) -> Iterator[ReviewFinding]:
    if access.can(Capability.GRANT):
        pipeline = access.assignment.principal_type == "ServicePrincipal"
        yield ReviewFinding(
            "access-grants",
            Severity.HIGH if pipeline else Severity.MEDIUM,
            _who(access),
            f"{access.origin}: it can give itself and others any role on the endpoint",
            "Take the role away, or give it for the time of a task only (Privileged Identity Management)."
            + (f" A pipeline does not grant roles: {_LEAST}" if pipeline else ""),
        )


def _check_breadth(access: Access) -> Iterator[ReviewFinding]:
    scope = access.assignment.scope.lower()
    if any(map(access.can, _STRONG)) and is_broad(scope):
        above = "resource group" if "/resourcegroups/" in scope else "subscription or a management group"
        yield ReviewFinding(
            "access-broad",
            Severity.MEDIUM,
            _who(access),
            f"{access.origin}: it can {_words(access)} through a role on the {above}",
            f"Assign the role on the workspace or the endpoint. {_LEAST}",
        )


def _check_person(access: Access) -> Iterator[ReviewFinding]:
    if access.assignment.principal_type == "User" and any(map(access.can, _STRONG)):
        yield ReviewFinding(
            "access-person",
            Severity.LOW,
            _who(access),
            f"{access.origin}: a person can {_words(access)} at any time, without a run that leaves evidence",
            "Change the endpoint through a pipeline's identity; give people the role for the time of a task.",
        )


def _check_keys(access: Access, auth_mode: str) -> Iterator[ReviewFinding]:
    if auth_mode.lower() == "key" and access.can(Capability.READ_KEYS) and not any(map(access.can, _STRONG)):
        yield ReviewFinding(
            "access-keys",
            Severity.LOW,
            _who(access),
            f"{access.origin}: it can read both keys, and invoke with them after its role is taken away",
            "Let clients invoke with Microsoft Entra ID tokens; regenerate keys when a reader's role ends.",
        )


def _check_operator(access: Access, security: Security) -> Iterator[ReviewFinding]:
    allowed = {operator.lower() for operator in security.operators}
    if allowed and any(map(access.can, _STRONG)) and access.assignment.principal.lower() not in allowed:
        yield ReviewFinding(
            "access-unexpected",
            Severity.HIGH,
            _who(access),
            f"{access.origin}: it can {_words(access)}, and the policy's security.operators do not name it",
            "Take the role away, or add it to security.operators.",
        )


def _who(access: Access) -> str:
    """Name the principal; ARM has no display names, and the members of a group are in Microsoft Graph."""
    kinds = {
        "ServicePrincipal": "service principal (a pipeline or an application)",
        "User": "user",
        "Group": "group",
    }
    kind = access.assignment.principal_type
    return f"{kinds.get(kind, kind)} {access.assignment.principal}"


def _words(access: Access) -> str:
    return ", ".join(access.capabilities)
