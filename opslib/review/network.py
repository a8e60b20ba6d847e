"""Rules about the network: who reaches the endpoint, and what its containers reach."""

from collections.abc import Iterator

from opslib.model.surroundings import Unread
from opslib.policy.security import Security
from opslib.review.facts import Facts
from opslib.review.finding import ReviewFinding, Severity

ISOLATED = frozenset({"allowonlyapprovedoutbound"})
PARTLY_ISOLATED = frozenset({"allowinternetoutbound"})


def check_public_access(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """The scoring address is reached through a private endpoint only."""
    del security
    endpoint = facts.endpoint
    access = str(endpoint.arm["properties"].get("publicNetworkAccess") or "Enabled")
    if access.lower() != "disabled":
        yield ReviewFinding(
            "public-endpoint",
            Severity.MEDIUM,
            f"endpoint {endpoint.name}",
            f"publicNetworkAccess is {access}: {endpoint.scoring_uri} can be reached from the internet",
            "Set public_network_access: disabled, and reach it through the workspace's private endpoint.",
        )


def check_egress(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """Containers reach only what was approved, by the workspace's managed network or the deployment's egress."""
    del security
    workspace = facts.workspace
    if isinstance(workspace, Unread):
        return
    mode = workspace.isolation.lower()
    if mode in ISOLATED:
        return
    where = f"workspace {workspace.id.rsplit('/', 1)[-1]}"
    fix = "Isolate the workspace's managed network (allow_only_approved_outbound), and list what scoring needs."
    if mode in PARTLY_ISOLATED:
        evidence = "the managed network's isolation mode is AllowInternetOutbound: containers reach the internet"
        yield ReviewFinding("workspace-isolation", Severity.LOW, where, evidence, fix)
        return
    evidence = f"the managed network's isolation mode is {workspace.isolation or 'not set'}: there is no isolation"
    yield ReviewFinding("workspace-isolation", Severity.MEDIUM, where, evidence, fix)
    for deployment in facts.endpoint.deployments:
        egress = str(deployment.arm["properties"].get("egressPublicNetworkAccess") or "Enabled")
        if egress.lower() != "disabled":
            yield ReviewFinding(
                "open-egress",
                Severity.MEDIUM,
                f"deployment {deployment.name}",
                f"egressPublicNetworkAccess is {egress}, and the workspace is not isolated: its code can send data "
                "to any address",
                "Isolate the workspace's managed network, or deploy with egress_public_network_access: disabled.",
            )


def check_workspace_access(facts: Facts, security: Security) -> Iterator[ReviewFinding]:
    """The workspace's own interface is reached through a private endpoint only."""
    del security
    workspace = facts.workspace
    if not isinstance(workspace, Unread) and workspace.public_network_access.lower() != "disabled":
        yield ReviewFinding(
            "workspace-public",
            Severity.LOW,
            f"workspace {workspace.id.rsplit('/', 1)[-1]}",
            f"publicNetworkAccess is {workspace.public_network_access}: models and data are reached from the "
            "internet by those who hold a role",
            "Set public_network_access: Disabled on the workspace, and reach it through its private endpoint.",
        )
