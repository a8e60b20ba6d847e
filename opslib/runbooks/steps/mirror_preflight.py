"""Findings before a mirror stage: Azure's limits on mirrored traffic. Pure: everything is read before.

Source: Microsoft Learn, "Safe rollout for online endpoints" and "Manage and increase quotas".
"""

from opslib.model import Endpoint, Finding, Level

LIMIT_BYTES = 5_000_000
"""Bandwidth of an endpoint, both ways and mirrored copies together [bytes per second]."""


def check_mirror_stage(endpoint: Endpoint, canary: str, percent: int) -> tuple[Finding, ...]:
    """The endpoint can mirror: it is managed, and no other deployment takes mirrored traffic."""
    return (_check_single(endpoint, canary, percent), _check_managed(endpoint, canary))


def _check_single(endpoint: Endpoint, canary: str, percent: int) -> Finding:
    others = [name for name, weight in endpoint.mirror_traffic.items() if weight]
    if others:
        return Finding.blocker(
            "mirror",
            f"{', '.join(others)} takes mirrored traffic already; Azure mirrors to one deployment",
            f"Remove it: az ml online-endpoint update --name {endpoint.name} "
            f'--mirror-traffic "{" ".join(f"{name}=0" for name in others)}"',
        )
    return Finding.ok("mirror", f"{percent} % of live traffic is copied to {canary}; 50 % is the most")


def _check_managed(endpoint: Endpoint, canary: str) -> Finding:
    found = endpoint.find(canary)
    kinds = {str(one.arm.get("properties", {}).get("endpointComputeType") or "Managed") for one in [found] if one}
    if endpoint.arm.get("properties", {}).get("compute") or kinds - {"Managed"}:
        return Finding.blocker(
            "mirror: compute",
            f"{endpoint.name} runs on Kubernetes, where Azure does not mirror traffic",
            "Set mirror_percent to 0.",
        )
    return Finding.ok("mirror: compute", f"{endpoint.name} is a managed endpoint")


def check_bandwidth(seen: float | None, percent: int, problem: str) -> Finding:
    """The copies fit within the endpoint's bandwidth: above it, Azure delays requests of users too.

    Parameters
    ----------
    seen
        Bandwidth of the busiest of the last minutes [bytes per second]; None where it is unknown.
    """
    limit = f"{LIMIT_BYTES / 1e6:g} MB/s"
    if seen is None:
        fix = f"Check that the endpoint's NetworkBytes stay below {limit} with the copies."
        return Finding("mirror: bandwidth", Level.WARNING, f"unknown: {problem or 'no data'}", fix)
    wanted = seen * (1 + percent / 100)
    evidence = f"{seen / 1e6:.2f} MB/s now, {wanted / 1e6:.2f} MB/s with the copies, limit {limit}"
    if wanted > LIMIT_BYTES:
        return Finding.blocker("mirror: bandwidth", evidence, "Mirror a smaller share, or set mirror_percent to 0.")
    return Finding.ok("mirror: bandwidth", evidence)
