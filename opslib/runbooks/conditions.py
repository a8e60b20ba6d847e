"""The conditions around a change: what watches the endpoint, and how much traffic it serves."""

from typing import Any

from opslib.azure.load import read_load
from opslib.azure.monitoring import read_monitoring
from opslib.azure.source import Source
from opslib.errors import ObserveError
from opslib.model import Endpoint, Finding, Load
from opslib.runbooks.run import Run
from opslib.runbooks.steps import monitoring_preflight, policy_preflight


def check_conditions(run: Run[Any], endpoint: Endpoint) -> tuple[Finding, ...]:
    """Check what watches the endpoint, the alerts that have fired, and the tags that the policy requires."""
    required = run.policy.monitoring if run.policy else None
    tags = run.policy.tags.endpoint if run.policy else ()
    found = read_monitoring(run.workspace, endpoint)
    return (
        monitoring_preflight.check_coverage(found, required),
        monitoring_preflight.check_fired(found, required, emergency=run.record.emergency),
        *([policy_preflight.check_tags(endpoint.name, tags, endpoint.tags)] if tags else []),
    )


def find_load(
    run: Run[Any], endpoint: Endpoint, source: Source | str = "auto", deadline_s: float = 60.0
) -> tuple[Load | None, str]:
    """Return the load of the last minutes, or None and the reason why it is not known."""
    try:
        load = read_load(run.workspace, endpoint, source, deadline_s)
    except ObserveError as error:
        return None, str(error)
    return load, "" if load else "no traffic was served in the last 15 minutes"
