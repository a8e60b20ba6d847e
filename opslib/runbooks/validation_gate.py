"""Whether the archive shows that a version passed the validation that the endpoint's policy requires."""

import hashlib
import shlex
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.run.record import Record
from opslib.evidence.run.run_lock import archive_of
from opslib.evidence.validations import find_validations
from opslib.model import Deployment, Endpoint, Finding
from opslib.policy.validations import decide_validation
from opslib.runbooks.run import Run
from opslib.runbooks.steps import policy_preflight


def check_validated(run: Run[Any], before: Endpoint, name: str) -> tuple[Finding, ...]:
    """Check that exactly this version of a deployment has passed its validation; nothing without such a policy."""
    rule, deployment = run.policy.validation if run.policy else None, before.find(name)
    if rule is None or not rule.required or deployment is None:
        return ()
    path = Path(run.parameters.policy).parent / rule.file
    command = f"opslib run validate -p endpoint={before.name} -p deployment={deployment.name}"
    for option in ("target", "policy"):
        if run.origins[option] == "given":
            command += f" -p {option}={shlex.quote(str(getattr(run.parameters, option)))}"
    if not path.is_file():
        return (Finding.blocker("validation", f"the validation set {path} is not there", "Correct the policy."),)
    decision = decide_validation(
        rule,
        find_validations(
            archive_of(run.folder), run.workspace.scope, before.name, deployment.name, deployment.version_sha256
        ),
        deployment.version_sha256,
        hashlib.sha256(path.read_bytes()).hexdigest(),
        datetime.now(UTC),
    )
    return (policy_preflight.check_validation(deployment.name, decision, command),)


def check_known_or_validated(run: Run[Any], before: Endpoint, name: str) -> tuple[Finding, ...]:
    """Check that a rollback returns to a version that has served production traffic, or passed its validation.

    An emergency passes it, as it passes change windows, and is recorded.
    """
    deployment = before.find(name)
    if deployment is None or run.policy is None or before.traffic.get(deployment.name, 0) > 0:
        return ()
    history = [
        record for folder, record in read_archive(archive_of(run.folder), before.name) if folder != run.folder
    ]
    if has_served(deployment, history):
        return ()
    findings = check_validated(run, before, name)
    return tuple(
        policy_preflight.pass_in_emergency(finding, allowed=run.policy.emergency, given=run.record.emergency)
        for finding in findings
    )


def has_served(deployment: Deployment, history: Sequence[Record]) -> bool:
    """Return whether a recorded run left or found production traffic on this version of a deployment."""
    properties = deployment.arm["properties"]
    version = {
        "model": properties.get("model") or "",
        "environment": properties.get("environmentId") or "",
        "code": (properties.get("codeConfiguration") or {}).get("codeId") or "",
        "instance_type": deployment.instance_type,
    }
    for record in history:
        for traffic, known in (
            (record.traffic_before, record.deployments_before),
            (record.traffic_after, record.deployments_after),
        ):
            described = (known or {}).get(deployment.name, {})
            if (traffic or {}).get(deployment.name, 0) and version.items() <= described.items():
                return True
    return False
