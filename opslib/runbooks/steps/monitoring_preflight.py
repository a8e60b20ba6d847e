"""Findings about what watches an endpoint: logs, alert rules, and alerts that have fired. Pure."""

from opslib.model import Finding, Level, Monitoring
from opslib.policy.standards import RequiredMonitoring


def check_coverage(monitoring: Monitoring, required: RequiredMonitoring | None) -> Finding:
    """The logs are kept and the alert rules are enabled that the policy requires; without one, there are some."""
    if monitoring.problem:
        return Finding(
            "monitoring coverage",
            Level.BLOCKER if required and (required.alerts or required.logs) else Level.WARNING,
            f"could not be read: {monitoring.problem}",
            "Request the role Monitoring Reader on the resource group.",
        )
    kept = ", ".join(sorted(monitoring.logs)) or "none"
    rules = ", ".join(sorted(name for name, enabled in monitoring.rules.items() if enabled)) or "none"
    evidence = f"logs kept: {kept}; enabled alert rules: {rules}"
    missing = _missing(monitoring, required or RequiredMonitoring())
    if missing:
        return Finding.blocker(
            "monitoring coverage",
            f"the policy requires {', '.join(missing)}; {evidence}",
            "Add the diagnostic setting or the alert rule, or enable it.",
        )
    if not any(monitoring.rules.values()):
        return Finding(
            "monitoring coverage",
            Level.WARNING,
            evidence,
            "No alert reaches a person if the endpoint fails: add a metric alert rule, and name it in the policy "
            "(monitoring: {alerts: [NAME]}).",
        )
    return Finding.ok("monitoring coverage", evidence)


def check_fired(monitoring: Monitoring, required: RequiredMonitoring | None, *, emergency: bool) -> Finding:
    """No alert on the endpoint has fired; a severe one blocks a change unless it is an emergency."""
    if monitoring.problem:
        return Finding(
            "alerts", Level.WARNING, "whether an alert has fired could not be read", "Look into the portal."
        )
    if not monitoring.fired:
        return Finding.ok("alerts", "no alert on the endpoint or its deployments has fired")
    worst = min(alert.severity for alert in monitoring.fired)
    evidence = "; ".join(
        f"{alert.rule} (severity {alert.severity}) fired on {alert.target} at {alert.since} UTC"
        for alert in sorted(monitoring.fired, key=lambda alert: alert.severity)
    )
    limit = (required or RequiredMonitoring()).block_severity
    if worst > limit:
        return Finding(
            "alerts", Level.WARNING, evidence, "Check that this change is not its cause, and not a victim."
        )
    if emergency:
        return Finding("alerts", Level.WARNING, f"{evidence}; passed as an emergency, which is recorded")
    return Finding.blocker(
        "alerts",
        evidence,
        "Resolve the incident first. If this change is the repair: opslib run --emergency, which is recorded.",
    )


def _missing(monitoring: Monitoring, required: RequiredMonitoring) -> list[str]:
    all_logs = "allLogs" in monitoring.logs
    return [
        *(f"log {name}" for name in required.logs if name not in monitoring.logs and not all_logs),
        *(
            f"alert rule {name} ({'disabled' if name in monitoring.rules else 'not there'})"
            for name in required.alerts
            if not monitoring.rules.get(name)
        ),
    ]
