"""Findings before a deployment is deleted. Pure: everything is read before."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from opslib.model import ActivityEvent, DeploymentRule, Endpoint, Finding, Level
from opslib.model.text import counted
from opslib.policy.standards import Retention


def check_exists(endpoint: Endpoint, deployment: str) -> Finding:
    """The deployment exists; its state does not matter."""
    found = endpoint.find(deployment)
    if found is None:
        return Finding.blocker(
            "deployment",
            f"deployment {deployment!r} does not exist behind {endpoint.name}; it has: "
            f"{endpoint.deployment_names()}",
            "Correct the name.",
        )
    return Finding.ok(
        "deployment",
        f"{found.name}: {found.provisioning_state}, {found.instance_count} x {found.instance_type}, {found.model}",
    )


def check_no_traffic(endpoint: Endpoint, deployment: str) -> Finding:
    """The deployment takes neither live nor mirrored traffic."""
    for kind, traffic in (("live", endpoint.traffic), ("mirrored", endpoint.mirror_traffic)):
        weight = next((w for name, w in traffic.items() if name.lower() == deployment.lower()), 0)
        if weight:
            fix = "Move it to another deployment first, and wait for the retention."
            return Finding.blocker("traffic", f"{deployment} takes {weight} % of {kind} traffic, expected 0 %", fix)
    return Finding.ok("traffic", f"{deployment} takes no live and no mirrored traffic")


def check_not_target(deployment: str, target: str, unknown: str) -> Finding:
    """No rollback would return to the deployment.

    Parameters
    ----------
    target
        The last known good deployment of the archive; empty where it has none.
    unknown
        Why it has none.
    """
    if not target:
        fix = f"Check that no rollback needs {deployment}, or run this where the endpoint's archive is."
        return Finding("rollback target", Level.WARNING, unknown, fix)
    if target.lower() == deployment.lower():
        return Finding.blocker(
            "rollback target",
            f"{deployment} is the last known good deployment: a rollback would return to it",
            "Keep it until a later version has been promoted and replaced.",
        )
    return Finding.ok("rollback target", f"a rollback returns to {target}")


def check_requests(deployment: str, requests: int | None, window: timedelta, problem: str) -> Finding:
    """The deployment has answered no request in the time of the retention, not even one sent to it directly."""
    span = _length(window)
    if requests is None:
        return Finding.blocker(
            "requests",
            f"the requests of {deployment} in the last {span} are unknown: {problem}",
            "Find out why Azure Monitor's metrics cannot be read, and run again.",
        )
    if requests:
        return Finding.blocker(
            "requests",
            # An hour's average leaves out the minutes without a request, so that the sum exceeds what was counted.
            f"{deployment} answered requests in the last {span}, at most about {requests:,} by Azure Monitor's "
            "averages of an hour; expected 0",
            "Find the clients that send to it, by its traffic or by the header azureml-model-deployment.",
        )
    return Finding.ok(
        "requests", f"{deployment} answered 0 requests in the last {span}, by Azure Monitor's metrics"
    )


def check_rest(deployment: str, since: datetime | None, by: str, now: datetime, rule: Retention) -> Finding:
    """The deployment has taken no live traffic for the retention's days."""
    if since is None:
        return Finding.blocker(
            "retention: days",
            f"it is not known when {deployment} last took live traffic: no record and no creation time has it",
            "Run this where the endpoint's archive is.",
        )
    evidence = f"{deployment} last may have taken live traffic at {since:%Y-%m-%d %H:%M} UTC ({by}), "
    rested = now - since
    if rested < timedelta(days=rule.days):
        until = since + timedelta(days=rule.days)
        return Finding.blocker(
            "retention: days",
            f"{evidence}{_length(rested)} ago, expected at least {rule.days:g} days",
            f"Wait until {until:%Y-%m-%d %H:%M} UTC, or change `retention` in the policy.",
        )
    return Finding.ok("retention: days", f"{evidence}{_length(rested)} ago; {rule.days:g} days are required")


def check_releases(deployment: str, releases: Sequence[str], rule: Retention) -> Finding:
    """Enough later versions have been promoted since the deployment last took traffic."""
    named = f": {', '.join(releases)}" if releases else ""
    evidence = f"{counted(len(releases), 'later release')} since {deployment} last took traffic{named}"
    if len(releases) < rule.release_cycles:
        return Finding.blocker(
            "retention: releases",
            f"{evidence}; expected at least {rule.release_cycles}",
            "Wait for them, run this where the endpoint's archive is, or change `retention` in the policy.",
        )
    return Finding.ok("retention: releases", f"{evidence}; {rule.release_cycles} required")


def check_foreign(events: Sequence[ActivityEvent], unread: str) -> Finding:
    """Other changes of the endpoint, of which no archive shows the traffic."""
    if unread:
        fix = "Check who else may have moved traffic."
        return Finding("other changes", Level.WARNING, f"the activity log could not be read: {unread}", fix)
    if not events:
        return Finding.ok("other changes", "no change of the endpoint since then is outside the archive's runs")
    newest = events[0]
    return Finding(
        "other changes",
        Level.WARNING,
        f"{len(events)} changes of the endpoint since then are in no archived run, the newest by {newest.caller} "
        f"at {newest.at:%Y-%m-%d %H:%M} UTC: each may have moved traffic",
        "The metrics show whether the deployment answered requests.",
    )


def check_rules(deployment: str, rules: Sequence[DeploymentRule]) -> Finding:
    """What scales or watches the deployment is gone, or is deleted by the plan: it concerns nothing else."""
    shared = [f"{rule} (also {', '.join(rule.others)})" for rule in rules if rule.others]
    if shared:
        return Finding.blocker(
            "autoscale and alerts",
            f"{'; '.join(shared)} names {deployment} beside other resources",
            f"Remove {deployment} from it first.",
        )
    if not rules:
        return Finding.ok("autoscale and alerts", f"none target {deployment}")
    return Finding.ok("autoscale and alerts", f"deleted with it: {', '.join(map(str, rules))}")


def check_again(deployment: str, gone: Sequence[str], unread: Sequence[str], hidden: Sequence[str]) -> Finding:
    """The deployment can be created again from its definition and what is registered.

    Parameters
    ----------
    gone, unread
        Model, environment and code that Azure no longer has, and that could not be read.
    hidden
        Fields of the definition that hold secrets, and are not written.
    """
    if gone:
        return Finding.blocker(
            "undo",
            f"{deployment} could not be created again: {', '.join(gone)} is not registered any more",
            "Register it again first, or delete the deployment by hand.",
        )
    if unread:
        return Finding("undo", Level.WARNING, f"not checked: {'; '.join(unread)}", "Check that it is registered.")
    if hidden:
        fix = "Keep these values in a secret store: they are filled in when it is deployed again."
        return Finding("undo", Level.WARNING, f"the definition leaves out secrets: {', '.join(hidden)}", fix)
    return Finding.ok(
        "undo", "model, environment and code are registered; the definition is kept in the run's folder"
    )


def _length(span: timedelta) -> str:
    """Return a length for people, in the largest unit of which there is at least one."""
    seconds = span.total_seconds()
    for unit, length in (("days", 86400), ("hours", 3600), ("minutes", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
