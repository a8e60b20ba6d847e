"""Findings before a change, each with its evidence and how to fix it. Pure: everything is read before."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import TYPE_CHECKING

from opslib.errors import PreflightError
from opslib.model import AutoscaleSetting, Endpoint, Finding, Level, ProbeResult
from opslib.model.traffic import describe_traffic, same_traffic
from opslib.runbooks.lease.tags import damage_of, describe, read_lease

if TYPE_CHECKING:  # the statistics take half a second to import
    from opslib.judge import BakeForecast


def require_clear(findings: Iterable[Finding]) -> None:
    """Require that no finding blocks the run.

    Raises
    ------
    PreflightError
        With every blocker, its evidence and how to fix it.
    """
    checked = list(findings)
    blockers = [finding for finding in checked if finding.level is Level.BLOCKER]
    if blockers:
        lines = "\n".join(f"  {b.check}: {b.evidence}. {b.fix}".rstrip() for b in blockers)
        block = "blocks" if len(blockers) == 1 else "block"
        raise PreflightError(
            f"nothing was changed: {len(blockers)} of {len(checked)} checks {block} the run:\n{lines}"
        )


def check_state(endpoint: Endpoint) -> Finding:
    """Check that no other operation is under way, and that the last one succeeded."""
    if endpoint.provisioning_state == "Succeeded":
        return Finding.ok("endpoint state", "Succeeded")
    return Finding.blocker(
        "endpoint state",
        f"{endpoint.name} is {endpoint.provisioning_state}, expected Succeeded",
        "Wait until the operation has ended; if it failed, find the cause in the activity log.",
    )


def check_lease(endpoint: Endpoint, now: datetime) -> Finding:
    """Check that no other change holds the endpoint."""
    lease, damage = read_lease(endpoint.tags), damage_of(endpoint.tags)
    if damage:
        return Finding.blocker(
            "lease",
            damage,
            "Find out whether a canary runs, and where its traffic was before: opslib runs --endpoint "
            f"{endpoint.name}. Remove the lease: opslib recover --endpoint {endpoint.name} --take-over",
        )
    if lease is None:
        return Finding.ok("lease", "no other change holds the endpoint")
    if lease.expired(now):
        return Finding.blocker(
            "lease",
            f"a canary that is no longer watched left its traffic: {describe(lease)}",
            f"Restore the traffic first: opslib recover --endpoint {endpoint.name}",
        )
    return Finding.blocker(
        "lease",
        f"another change is under way: {describe(lease)}",
        f"Wait until it ends, stop it, or end its lease: opslib recover --endpoint {endpoint.name} --take-over",
    )


def check_ready(endpoint: Endpoint, deployment: str, role: str) -> Finding:
    """Check that a deployment exists and can take traffic."""
    found = endpoint.find(deployment)
    if found is None:
        known = endpoint.deployment_names()
        return Finding.blocker(
            role,
            f"deployment {deployment!r} does not exist behind {endpoint.name}; it has: {known}",
            "Correct the name, or deploy it first.",
        )
    if not found.ready:
        return Finding.blocker(
            role,
            f"{found.name} is {found.provisioning_state} with {found.instance_count} instances, expected Succeeded "
            "with at least 1",
            "Find the cause in its logs, and deploy it again.",
        )
    return Finding.ok(
        role, f"{found.name} is Succeeded, {found.instance_count} x {found.instance_type}, {found.model}"
    )


def check_absent(endpoint: Endpoint, deployment: str) -> Finding:
    """Check that the deployment does not exist yet: replacing one in place has no undo."""
    found = endpoint.find(deployment)
    if found is None:
        return Finding.ok("name", f"{deployment} is free")
    weight = endpoint.traffic.get(found.name, 0)
    return Finding.blocker(
        "name",
        f"{found.name} exists already ({found.provisioning_state}, {weight} % of traffic)",
        "Choose another name for the new version, or delete the old deployment first.",
    )


def check_owner(endpoint: Endpoint, named: str) -> Finding:
    """Check that the definition is for this endpoint."""
    if named.lower() == endpoint.name.lower():
        return Finding.ok("definition", f"is for {endpoint.name}")
    return Finding.blocker(
        "definition",
        f"is for endpoint {named!r}, expected {endpoint.name!r}",
        "Pass the definition of this endpoint, or name its endpoint.",
    )


def check_off_traffic(endpoint: Endpoint, canary: str) -> Finding:
    """Check that the canary takes no traffic yet, so that the undo is known."""
    live = next((w for name, w in endpoint.traffic.items() if name.lower() == canary.lower()), 0)
    mirrored = any(name.lower() == canary.lower() for name in endpoint.mirror_traffic)
    if live:
        return Finding.blocker(
            "traffic",
            f"{canary} already takes {live} % of live traffic, expected 0 %",
            "Roll back first, then start again.",
        )
    if mirrored:
        return Finding.blocker(
            "traffic",
            f"{canary} takes mirrored traffic",
            "Remove the mirror: a deployment cannot take mirrored and live traffic.",
        )
    return Finding.ok("traffic", f"{canary} takes no traffic yet")


def check_rollback_target(endpoint: Endpoint) -> Finding:
    """Check that there is a ready deployment to return the traffic to."""
    serving = [name for name, weight in endpoint.traffic.items() if weight]
    if not serving:
        return Finding.blocker(
            "rollback target",
            "no deployment takes traffic: there is no stable deployment to compare with or to return to",
            "Give the first deployment its traffic with the rollback runbook (-p to=NAME).",
        )
    unready = [name for name in serving if not (d := endpoint.find(name)) or not d.ready]
    if unready:
        return Finding.blocker(
            "rollback target",
            f"takes traffic but is not ready: {', '.join(unready)}",
            "Fix it first: it must be able to take all traffic back.",
        )
    return Finding.ok("rollback target", f"{', '.join(serving)} can take all traffic back")


def check_monitoring(source: str, shortest_bake_s: float, bake_s: float, problem: str) -> Finding:
    """Check that there is a source of request counts, and that the bake is long enough for it."""
    if problem:
        return Finding.blocker(
            "monitoring",
            problem,
            "A canary needs a source of request counts: keep the request log by a diagnostic setting.",
        )
    if bake_s < shortest_bake_s:
        return Finding.blocker(
            "monitoring",
            f"a bake of {bake_s:g} s is shorter than the {shortest_bake_s:g} s that {source} need to have data",
            f"Set bake_s to at least {shortest_bake_s:g}, or keep the request log by a diagnostic setting.",
        )
    return Finding.ok("monitoring", f"requests are counted by the {source}")


def check_bake(forecast: "BakeForecast | None", unknown: str = "", fix: str = "") -> Finding:
    """Check that the first stage can be decided within its longest bake.

    Where there is no forecast, `unknown` is why, and `fix` what to do.
    """
    if forecast is None:
        return Finding("bake", Level.WARNING, f"no forecast: {unknown}", fix)
    if not forecast.decides:
        return Finding.blocker(
            "bake", forecast.advice, "Set a longer max_bake_s, a larger first stage, or wider limits."
        )
    return Finding.ok("bake", forecast.advice)


def check_outcomes(path: str, names: Sequence[str], *, readable: bool, per_request: bool) -> Finding:
    """Check that outcomes, if they are judged, can be read and assigned to the version that answered."""
    if not path:
        return Finding.ok("outcomes", "none given: only failures and latency are judged")
    if not readable:
        return Finding.blocker(
            "outcomes", f"{path} is not a file", "Create the file before the run; outcomes are appended to it."
        )
    if not per_request:
        return Finding.blocker(
            "outcomes",
            "only the request log has the deployment that answered each request, and this run does not read it",
            "Keep the request log by a diagnostic setting, or judge without outcomes.",
        )
    return Finding.ok("outcomes", f"{', '.join(names)} from {path}")


def check_outcomes_in_time(known_s: float, bake_s: float, *, act: bool) -> Finding:
    """Check that outcomes are known within a stage.

    Parameters
    ----------
    known_s
        Age of a request at which its outcomes are counted [seconds].
    bake_s
        Longest bake of a stage [seconds].
    act
        Whether outcomes may act: then no stage is promoted without proof from them.
    """
    evidence = f"outcomes count {known_s:g} s after their request, a stage takes at most {bake_s:g} s"
    if known_s < bake_s:
        return Finding.ok("outcomes in time", evidence)
    if act:
        fix = 'No stage could be promoted: set a longer max_bake_s, or outcomes_mode="advise".'
        return Finding.blocker("outcomes in time", evidence, fix)
    fix = "Stages will be decided without their outcomes: set a longer max_bake_s to use them."
    return Finding("outcomes in time", Level.WARNING, evidence, fix)


def check_probes(results: Sequence[ProbeResult], deployment: str) -> Finding:
    """Check that the deployment answers the probes that were sent to it directly."""
    bad = [result for result in results if not result.ok]
    if not results:
        return Finding(
            "probes", Level.WARNING, "none given: the deployment was not tested", "Pass probes=FILE.jsonl."
        )
    if bad:
        return Finding.blocker(
            "probes",
            f"{len(bad)} of {len(results)} probes of {deployment} failed; first: {bad[0].problem}",
            "Find the cause in its logs before it takes live traffic.",
        )
    return Finding.ok("probes", f"{len(results)} of {len(results)} probes of {deployment} answered as expected")


def check_others(endpoint: Endpoint, involved: Sequence[str]) -> Finding:
    """The deployments that this change does not concern are settled: the service refuses a write during another."""
    names = {name.lower() for name in involved}
    others = [one for one in endpoint.deployments if one.name.lower() not in names]
    unsettled = [
        f"{one.name} is {one.provisioning_state}" for one in others if one.provisioning_state != "Succeeded"
    ]
    if not unsettled:
        return Finding.ok("other deployments", ", ".join(one.name for one in others) or "there are none")
    return Finding(
        "other deployments",
        Level.WARNING,
        ", ".join(unsettled),
        "The run waits for operations under way. A failed deployment keeps its instances, which cost: delete it.",
    )


def check_returns(endpoint: Endpoint, target: str) -> Finding:
    """Warn where the target of a rollback takes all traffic already: a version that answers wrongly stays then."""
    if same_traffic(endpoint.traffic, {target: 100}):
        return Finding(
            "traffic",
            Level.WARNING,
            f"{target} takes all traffic already: the rollback changes nothing, and verifies that it answers",
            "Name another deployment with `to` if its answers are wrong.",
        )
    return Finding.ok("traffic", f"{describe_traffic(endpoint.traffic)}; {target} is to take all of it")


def check_mirror(endpoint: Endpoint, target: str) -> Finding:
    """The deployment that gets live traffic takes no mirrored traffic: the service refuses both."""
    mirrored = {name.lower(): weight for name, weight in endpoint.mirror_traffic.items() if weight}
    if target.lower() in mirrored:
        return Finding.blocker(
            "mirror",
            f"{target} takes {mirrored[target.lower()]} % of mirrored traffic, and cannot take live traffic too",
            f'Remove the mirror: az ml online-endpoint update --name {endpoint.name} --mirror-traffic "{target}=0"',
        )
    if mirrored:
        named = ", ".join(f"{name} {weight} %" for name, weight in mirrored.items())
        return Finding(
            "mirror", Level.WARNING, f"mirrored to {named}, which counts against the endpoint's bandwidth"
        )
    return Finding.ok("mirror", "no traffic is mirrored")


def check_autoscale(settings: Sequence[AutoscaleSetting], deployment: str) -> Finding:
    """Check that no autoscale setting would override the scale."""
    named = [str(one) for one in settings if one.deployment.lower() == deployment.lower()]
    if not named:
        return Finding.ok("autoscale", f"no autoscale setting targets {deployment}")
    return Finding.blocker(
        "autoscale",
        f"autoscale setting {', '.join(named)} targets {deployment} and would override this scale",
        "Change the setting's minimum and maximum instead, or disable it.",
    )
