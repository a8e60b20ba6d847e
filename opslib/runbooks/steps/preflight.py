"""Findings before a change, each with its evidence and how to fix it. Pure: everything is read before."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches

from opslib.definitions.rules import Severity, Violation
from opslib.errors import PreflightError
from opslib.judge import BakeForecast
from opslib.model import Endpoint, Finding, Level, ProbeResult
from opslib.policy.agreements import AgreementCount
from opslib.policy.policy import Approvals, Policy
from opslib.policy.windows import decide_window
from opslib.runbooks.lease.tags import describe, read_lease


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
        raise PreflightError(
            f"nothing was changed: {len(blockers)} of {len(checked)} checks block the run:\n{lines}"
        )


def check_state(endpoint: Endpoint) -> Finding:
    """Check that no other operation is under way, and that the last one succeeded."""
    if endpoint.provisioning_state == "Succeeded":
        return _ok("endpoint state", "Succeeded")
    return _blocker(
        "endpoint state",
        f"{endpoint.name} is {endpoint.provisioning_state}, expected Succeeded",
        "Wait until the operation has ended; if it failed, find the cause in the activity log.",
    )


def check_lease(endpoint: Endpoint, now: datetime) -> Finding:
    """Check that no other change holds the endpoint."""
    lease = read_lease(endpoint.tags)
    if lease is None:
        return _ok("lease", "no other change holds the endpoint")
    if lease.expired(now):
        return _blocker(
            "lease",
            f"a canary that is no longer watched left its traffic: {describe(lease)}",
            f"Restore the traffic first: opslib recover --endpoint {endpoint.name}",
        )
    return _blocker(
        "lease",
        f"another change is under way: {describe(lease)}",
        f"Wait until it ends, stop it, or end its lease: opslib recover --endpoint {endpoint.name} --take-over",
    )


def check_permissions(missing: Sequence[str], principal: str) -> Finding:
    """Check that the principal has every permission that the runbook and its undo need."""
    if not missing:
        return _ok("permissions", f"{principal} has every permission that this runbook needs")
    return _blocker(
        "permissions",
        f"{principal} lacks {', '.join(missing)}",
        "Request the role AzureML Data Scientist on the workspace; an assignment takes effect within an hour.",
    )


def check_ready(endpoint: Endpoint, deployment: str, role: str) -> Finding:
    """Check that a deployment exists and can take traffic."""
    found = endpoint.find(deployment)
    if found is None:
        known = endpoint.deployment_names()
        return _blocker(
            role,
            f"deployment {deployment!r} does not exist behind {endpoint.name}; it has: {known}",
            "Correct the name, or deploy it first.",
        )
    if not found.ready:
        return _blocker(
            role,
            f"{found.name} is {found.provisioning_state} with {found.instance_count} instances, expected Succeeded "
            "with at least 1",
            "Find the cause in its logs, and deploy it again.",
        )
    return _ok(role, f"{found.name} is Succeeded, {found.instance_count} x {found.instance_type}, {found.model}")


def check_absent(endpoint: Endpoint, deployment: str) -> Finding:
    """Check that the deployment does not exist yet: replacing one in place has no undo."""
    found = endpoint.find(deployment)
    if found is None:
        return _ok("name", f"{deployment} is free")
    weight = endpoint.traffic.get(found.name, 0)
    return _blocker(
        "name",
        f"{found.name} exists already ({found.provisioning_state}, {weight} % of traffic)",
        "Choose another name for the new version, or delete the old deployment first.",
    )


def check_owner(endpoint: Endpoint, named: str) -> Finding:
    """Check that the definition is for this endpoint."""
    if named.lower() == endpoint.name.lower():
        return _ok("definition", f"is for {endpoint.name}")
    return _blocker(
        "definition",
        f"is for endpoint {named!r}, expected {endpoint.name!r}",
        "Pass the definition of this endpoint, or name its endpoint.",
    )


def check_off_traffic(endpoint: Endpoint, canary: str) -> Finding:
    """Check that the canary takes no traffic yet, so that the undo is known."""
    live = next((w for name, w in endpoint.traffic.items() if name.lower() == canary.lower()), 0)
    mirrored = any(name.lower() == canary.lower() for name in endpoint.mirror_traffic)
    if live:
        return _blocker(
            "traffic",
            f"{canary} already takes {live} % of live traffic, expected 0 %",
            "Roll back first, then start again.",
        )
    if mirrored:
        return _blocker(
            "traffic",
            f"{canary} takes mirrored traffic",
            "Remove the mirror: a deployment cannot take mirrored and live traffic.",
        )
    return _ok("traffic", f"{canary} takes no traffic yet")


def check_rollback_target(endpoint: Endpoint) -> Finding:
    """Check that there is a ready deployment to return the traffic to."""
    serving = [name for name, weight in endpoint.traffic.items() if weight]
    if not serving:
        return _blocker(
            "rollback target",
            "no deployment takes traffic: there is no stable deployment to compare with or to return to",
            "Give the first deployment its traffic with the rollback runbook (-p to=NAME).",
        )
    unready = [name for name in serving if not (d := endpoint.find(name)) or not d.ready]
    if unready:
        return _blocker(
            "rollback target",
            f"takes traffic but is not ready: {', '.join(unready)}",
            "Fix it first: it must be able to take all traffic back.",
        )
    return _ok("rollback target", f"{', '.join(serving)} can take all traffic back")


def check_monitoring(source: str, shortest_bake_s: float, bake_s: float, problem: str) -> Finding:
    """Check that there is a source of request counts, and that the bake is long enough for it."""
    if problem:
        return _blocker(
            "monitoring",
            problem,
            "A canary needs a source of request counts: keep the request log by a diagnostic setting.",
        )
    if bake_s < shortest_bake_s:
        return _blocker(
            "monitoring",
            f"a bake of {bake_s:g} s is shorter than the {shortest_bake_s:g} s that {source} need to have data",
            f"Set bake_s to at least {shortest_bake_s:g}, or keep the request log by a diagnostic setting.",
        )
    return _ok("monitoring", f"requests are counted by the {source}")


def check_bake(forecast: BakeForecast | None, unknown: str) -> Finding:
    """Check that the first stage can be decided within its longest bake."""
    if forecast is None:
        return Finding(
            "bake",
            Level.WARNING,
            f"no forecast: {unknown}",
            "A stage without traffic ends in a hold: send traffic to the endpoint, or wait for it.",
        )
    if not forecast.decides:
        return _blocker("bake", forecast.advice, "Set a longer max_bake_s, a larger first stage, or wider limits.")
    return _ok("bake", forecast.advice)


def check_outcomes(path: str, names: Sequence[str], *, readable: bool, per_request: bool) -> Finding:
    """Check that outcomes, if they are judged, can be read and assigned to the version that answered."""
    if not path:
        return _ok("outcomes", "none given: only failures and latency are judged")
    if not readable:
        return _blocker(
            "outcomes", f"{path} is not a file", "Create the file before the run; outcomes are appended to it."
        )
    if not per_request:
        return _blocker(
            "outcomes",
            "only the request log has the deployment that answered each request, and this run does not read it",
            "Keep the request log by a diagnostic setting, or judge without outcomes.",
        )
    return _ok("outcomes", f"{', '.join(names)} from {path}")


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
        return _ok("outcomes in time", evidence)
    if act:
        fix = 'No stage could be promoted: set a longer max_bake_s, or outcomes_mode="advise".'
        return _blocker("outcomes in time", evidence, fix)
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
        return _blocker(
            "probes",
            f"{len(bad)} of {len(results)} probes of {deployment} failed; first: {bad[0].problem}",
            "Find the cause in its logs before it takes live traffic.",
        )
    return _ok("probes", f"{len(results)} of {len(results)} probes of {deployment} answered as expected")


def check_autoscale(settings: Sequence[str], deployment: str) -> Finding:
    """Check that no autoscale setting would override the scale."""
    if not settings:
        return _ok("autoscale", f"no autoscale setting targets {deployment}")
    return _blocker(
        "autoscale",
        f"autoscale setting {', '.join(settings)} targets {deployment} and would override this scale",
        "Change the setting's minimum and maximum instead, or disable it.",
    )


def check_owner_named(policy: Policy) -> Finding:
    """The endpoint has an owner who can be reached."""
    owner = policy.owner
    then = f"; then {', '.join(owner.escalation)}" if owner.escalation else ""
    return _ok("owner", f"{owner.team}, reached at {owner.contact}{then}")


def check_window(policy: Policy, runbook: str, now: datetime, *, emergency: bool) -> Finding:
    """A change may begin now, by the policy's change windows and freezes."""
    decision = decide_window(policy.windows_for(runbook), policy.freezes_for(runbook), now)
    if decision.allowed:
        return _ok("change window", decision.reason)
    if emergency and policy.emergency:
        return Finding(
            "change window", Level.WARNING, f"{decision.reason}; passed as an emergency, which is recorded"
        )
    when = f"Wait until {decision.opens:%Y-%m-%d %H:%M} UTC" if decision.opens else "No later window was found"
    override = "; in an emergency: opslib run --emergency, which is recorded" if policy.emergency else ""
    return _blocker("change window", decision.reason, f"{when}{override}.")


def check_agreements(rule: Approvals, count: AgreementCount, *, dry_run: bool) -> Finding:
    """Enough people have agreed to the plan, by the policy."""
    given = f"{len(count.who)} of {count.needed} approvals"
    evidence = "; ".join([f"{given}: {', '.join(count.who)}" if count.who else given, *count.rejected])
    if count.enough:
        return _ok("approvals", evidence)
    people = f" by {', '.join(rule.of)}" if rule.of else ""
    fix = (
        f"Make a dry run, have its plan approved{people} (opslib approve RUN, valid for {rule.valid_h:g} h), and "
        "run again with --approval FILE."
    )
    return Finding("approvals", Level.WARNING if dry_run else Level.BLOCKER, evidence, fix)


def check_definition(path: str, violations: Sequence[Violation]) -> tuple[Finding, ...]:
    """The definition breaks no rule of the service that can be checked without it."""
    levels = {Severity.ERROR: Level.BLOCKER, Severity.WARNING: Level.WARNING, Severity.NOTE: Level.OK}
    clear = not any(violation.severity is Severity.ERROR for violation in violations)
    passed = (_ok("definition", f"{path} breaks none of the rules that can be checked in it"),) if clear else ()
    return passed + tuple(
        Finding(
            f"definition: {violation.rule}",
            levels[violation.severity],
            f"{path}:{violation.line}: {violation.field} is {violation.seen}; expected {violation.expected}",
            violation.fix,
        )
        for violation in violations
    )


def check_instance_type(wanted: str, offered: Mapping[str, int]) -> Finding:
    """The region offers the instance type; `offered` holds cores by name [vCPU]."""
    names = {name.lower(): name for name in offered}
    if wanted.lower() in names:
        return _ok("instance type", f"{wanted} is offered, {offered[names[wanted.lower()]]} cores")
    near = get_close_matches(wanted.lower(), names, 3)
    fix = f"Use one that is, such as {', '.join(names[one] for one in near)}." if near else "Use one that is."
    return _blocker("instance type", f"{wanted} is not offered in the endpoint's region", fix)


def check_quota(family: str, needed: int, used: int, limit: int) -> Finding:
    """The family's quota has room for the new instances, the service's 20 % reserve included [vCPU]."""
    if limit < 0:
        return _ok("quota", f"{family}: no limit, {needed} cores needed")
    state = f"{family}: {used} of {limit} cores used, {needed} more needed (20 % reserve included)"
    if used + needed <= limit:
        return _ok("quota", state)
    return _blocker("quota", state, "Use fewer or smaller instances, remove a deployment, or raise the quota.")


def check_asset(kind: str, reference: str, found: str) -> Finding:
    """A registered model or environment is there; a label is resolved to the version that it names now."""
    if not found:
        return _blocker(kind, f"{reference} is not in the workspace", "Register it, or correct name and version.")
    if found == reference:
        return _ok(kind, f"{reference} is registered")
    return Finding(
        kind, Level.WARNING, f"{reference} is {found} now", f"Pin it: the deployment is created with {found}."
    )


def _ok(check: str, evidence: str) -> Finding:
    return Finding(check, Level.OK, evidence)


def _blocker(check: str, evidence: str, fix: str) -> Finding:
    return Finding(check, Level.BLOCKER, evidence, fix)
