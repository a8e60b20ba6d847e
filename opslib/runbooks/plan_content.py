"""What people approve: the plan, its workspace, its parameters, and the content of all files that it uses.

The same change, planned again, has the same content and so the same digest.
"""

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from opslib.definitions.content import digest_path, digest_uploads
from opslib.definitions.deployment import read_deployment
from opslib.definitions.source import read_replacements
from opslib.evidence.run.journal import as_json
from opslib.model import Plan, Scope
from opslib.parameters.deploy import DeployParameters
from opslib.policy.policy import Policy
from opslib.redaction.redact import redact
from opslib.runbook_parameters import RunbookParameters


def approved_content(plan: Plan, parameters: RunbookParameters, scope: Scope, policy: Policy | None) -> str:
    """Return the content of ``plan.json``, whose SHA-256 an approval names.

    It leaves out what changes without a change of the release, such as instance counts and list prices; before.json
    and the journal have the whole.
    """
    before = plan.before
    serve = [
        {
            "name": d.name,
            "model": d.model,
            "environment": d.environment,
            "code": d.code,
            "sku": d.instance_type,
            "version_sha256": d.version_sha256,
        }
        for d in before.deployments
    ]
    rule = policy.approvals_for(parameters.runbook) if policy else None
    content: dict[str, Any] = as_json(plan)
    del content["cost"]
    content |= {
        "runbook": parameters.runbook,
        "workspace": [scope.subscription_id, scope.resource_group, scope.workspace_name],
        "parameters": parameters.model_dump(mode="json", exclude={"dry_run", "reason"}),
        "files": _files(parameters, policy),
        "before": {"name": before.name, "traffic": dict(before.traffic), "deployments": serve},
        "approvals": None if rule is None or policy is None else rule.model_dump() | {"roles": policy.roles},
    }
    return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


def digest_of(content: str) -> str:
    """Return the SHA-256 of ``plan.json`` with this content, in which known secrets are masked."""
    return hashlib.sha256(redact(content).encode("utf-8", "backslashreplace")).hexdigest()


def _files(parameters: RunbookParameters, policy: Policy | None) -> Mapping[str, str]:
    """Return the digests of the files that decide the change: definition, uploads, probes, validation set."""
    given = parameters.model_dump()
    paths = [given[name] for name in ("probes", "validation") if given.get(name)]
    if policy is not None and policy.validation is not None:
        paths.append(str(Path(given["policy"]).parent / policy.validation.file))
    found = {path: digest_path(Path(path)) for path in paths if Path(path).is_file()}
    if isinstance(parameters, DeployParameters):
        definition = read_deployment(
            Path(parameters.definition),
            parameters.endpoint,
            parameters.deployment,
            read_replacements(parameters.set),
        )
        found |= digest_uploads(definition)
    return found
