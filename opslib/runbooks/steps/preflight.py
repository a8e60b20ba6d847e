"""Findings before a change, each with its evidence and a way to mend it. Pure: what was read comes in."""

from collections.abc import Iterable, Sequence
from datetime import datetime

from opslib.errors import PreflightError
from opslib.judge import BakeForecast
from opslib.model import Endpoint, Finding, Level, ProbeResult
from opslib.runbooks.lease.tags import describe, read_lease


def require_clear(findings: Iterable[Finding]) -> None:
    """Go on only if nothing blocks.

    Raises
    ------
    PreflightError
        Names every blocker, its evidence and how to mend it.
    """
    blockers = [finding for finding in findings if finding.level is Level.BLOCKER]
    if blockers:
        lines = "\n".join(f"  {b.check}: {b.evidence}. {b.fix}".rstrip() for b in blockers)
        raise PreflightError(f"nothing was changed, {len(blockers)} finding(s) block it:\n{lines}")


def check_state(endpoint: Endpoint) -> Finding:
    """The endpoint is in a state that a change can start from."""
    if endpoint.provisioning_state == "Succeeded":
        return _ok("endpoint state", "Succeeded")
    return _blocker(
        "endpoint state",
        f"{endpoint.name} is {endpoint.provisioning_state}, expected Succeeded",
        "Wait for the operation under way, or look at the activity log for why it failed.",
    )


def check_lease(endpoint: Endpoint, now: datetime) -> Finding:
    """No other change is under way on the endpoint."""
    lease = read_lease(endpoint.tags)
    if lease is None:
        return _ok("lease", "no other change is under way")
    if lease.expired(now):
        return _blocker(
            "lease",
            f"a change that nobody watches any more left its traffic: {describe(lease)}",
            f"Give it back first: opslib recover --endpoint {endpoint.name}",
        )
    return _blocker(
        "lease",
        f"another change is under way: {describe(lease)}",
        f"Wait for it, stop it, or end it deliberately: opslib recover --endpoint {endpoint.name} --take-over",
    )


def check_permissions(missing: Sequence[str], principal: str) -> Finding:
    """The caller may do everything that the runbook does, its undo included."""
    if not missing:
        return _ok("permissions", f"{principal} may do all that is needed")
    return _blocker(
        "permissions",
        f"{principal} lacks {', '.join(missing)}",
        "Ask for the role AzureML Data Scientist on the workspace; an assignment takes up to an hour to act.",
    )


def check_ready(endpoint: Endpoint, deployment: str, role: str) -> Finding:
    """A deployment exists and can take traffic."""
    found = endpoint.find(deployment)
    if found is None:
        known = endpoint.deployment_names()
        return _blocker(
            role,
            f"deployment {deployment!r} does not exist behind {endpoint.name}; it has: {known}",
            "Check the name, or deploy it first.",
        )
    if not found.ready:
        return _blocker(
            role,
            f"{found.name} is {found.provisioning_state} with {found.instance_count} instances",
            "Only a deployment in Succeeded takes traffic: look at its logs.",
        )
    return _ok(role, f"{found.name} is Succeeded, {found.instance_count} x {found.instance_type}, {found.model}")


def check_absent(endpoint: Endpoint, deployment: str) -> Finding:
    """The deployment to create does not exist yet: replacing one in place has no undo."""
    found = endpoint.find(deployment)
    if found is None:
        return _ok("name", f"{deployment} is free")
    weight = endpoint.traffic.get(found.name, 0)
    return _blocker(
        "name",
        f"{found.name} exists already ({found.provisioning_state}, {weight} % of traffic)",
        "Give the new version a name of its own, or retire the old deployment first.",
    )


def check_owner(endpoint: Endpoint, named: str) -> Finding:
    """The definition is meant for this endpoint."""
    if named.lower() == endpoint.name.lower():
        return _ok("definition", f"is for {endpoint.name}")
    return _blocker(
        "definition", f"is for endpoint {named!r}, this run is for {endpoint.name!r}", "Use the right one."
    )


def check_off_traffic(endpoint: Endpoint, canary: str) -> Finding:
    """The canary takes no traffic yet, so that the undo is known."""
    live = next((w for name, w in endpoint.traffic.items() if name.lower() == canary.lower()), 0)
    mirrored = any(name.lower() == canary.lower() for name in endpoint.mirror_traffic)
    if live:
        return _blocker(
            "traffic", f"{canary} already takes {live} % of live traffic", "Roll back first, then start again."
        )
    if mirrored:
        return _blocker("traffic", f"{canary} takes mirrored traffic", "Clear the mirror: it cannot be live too.")
    return _ok("traffic", f"{canary} takes none yet")


def check_rollback_target(endpoint: Endpoint) -> Finding:
    """Something serves that traffic can be given back to."""
    serving = [name for name, weight in endpoint.traffic.items() if weight]
    if not serving:
        return _blocker(
            "rollback target",
            "no deployment takes traffic, so there is nothing to compare with and nothing to return to",
            "Give the first deployment its traffic with the rollback runbook (-p to=NAME).",
        )
    unready = [name for name in serving if not (d := endpoint.find(name)) or not d.ready]
    if unready:
        return _blocker("rollback target", f"{', '.join(unready)} takes traffic and is not ready", "Mend it first.")
    return _ok("rollback target", f"{', '.join(serving)} can take all traffic back")


def check_monitoring(source: str, shortest_bake_s: float, bake_s: float, problem: str) -> Finding:
    """Something will show what is served, in a grain that fits the bake."""
    if problem:
        return _blocker("monitoring", problem, "A change that nobody can watch is not started.")
    if bake_s < shortest_bake_s:
        return _blocker(
            "monitoring",
            f"a bake of {bake_s:g} s is shorter than the {source} can be sure to show anything of",
            f"Bake for at least {shortest_bake_s:g} s, or keep the request log by a diagnostic setting.",
        )
    return _ok("monitoring", f"the {source} shows what is served")


def check_outlook(outlook: BakeForecast | None, silence: str) -> Finding:
    """The first stage can decide within its longest bake."""
    if outlook is None:
        return Finding(
            "bake", Level.WARNING, f"nothing can be forecast: {silence}", "Without traffic it will hold."
        )
    if not outlook.decides:
        return _blocker("bake", outlook.advice, "Plan a longer max_bake_s, a larger first stage, or wider limits.")
    return _ok("bake", outlook.advice)


def check_outcomes(path: str, names: Sequence[str], *, readable: bool, source: str) -> Finding:
    """What becomes of the answers can be told by version, where it is to be judged."""
    if not path:
        return _ok("outcomes", "none given: only failures and latency are judged")
    if not readable:
        return _blocker("outcomes", f"{path} is no file", "Whoever appends to it must have made it.")
    if source != "request log":
        return _blocker(
            "outcomes",
            f"who answered a request is known from the request log alone, this run watches {source}",
            "Keep the request log by a diagnostic setting, or judge without outcomes.",
        )
    return _ok("outcomes", f"{', '.join(names)} from {path}")


def check_outcomes_in_time(known_s: float, bake_s: float, *, act: bool) -> Finding:
    """What becomes of the answers is known within a stage.

    Parameters
    ----------
    known_s
        Age of a request at which its outcomes are counted [seconds].
    bake_s
        Longest bake of a stage [seconds].
    act
        Whether outcomes may act: then no stage is promoted without proof from them.
    """
    evidence = f"counted {known_s:g} s after a request, a stage takes {bake_s:g} s at most"
    if known_s < bake_s:
        return _ok("outcomes in time", evidence)
    if act:
        mend = "No stage could be promoted: plan a longer max_bake_s, or do not let outcomes act."
        return _blocker("outcomes in time", evidence, mend)
    mend = "A stage is decided without its outcomes: plan a longer max_bake_s to see them."
    return Finding("outcomes in time", Level.WARNING, evidence, mend)


def check_probes(results: Sequence[ProbeResult], deployment: str) -> Finding:
    """The deployment answers when it is asked directly."""
    bad = [result for result in results if not result.ok]
    if not results:
        return Finding(
            "probes", Level.WARNING, "none given: the deployment was not asked", "Pass probes=FILE.jsonl."
        )
    if bad:
        return _blocker(
            "probes",
            f"{len(bad)} of {len(results)} requests to {deployment} went wrong, the first: {bad[0].problem}",
            "Look at its logs before it sees users.",
        )
    return _ok("probes", f"{len(results)} requests to {deployment}, all answered as expected")


def check_autoscale(settings: Sequence[str], deployment: str) -> Finding:
    """Nothing will undo a manual scale."""
    if not settings:
        return _ok("autoscale", f"no setting targets {deployment}")
    return _blocker(
        "autoscale",
        f"{', '.join(settings)} targets {deployment} and would override a manual scale",
        "Change the setting's minimum and maximum, or disable it.",
    )


def _ok(check: str, evidence: str) -> Finding:
    return Finding(check, Level.OK, evidence)


def _blocker(check: str, evidence: str, fix: str) -> Finding:
    return Finding(check, Level.BLOCKER, evidence, fix)
