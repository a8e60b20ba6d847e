"""An endpoint's state in a run's folder (``before.json``, ``after.json``), with its secrets masked."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from opslib.evidence.run.record import write_atomically
from opslib.model import Deployment, Endpoint
from opslib.redaction.redact import register_secrets


def mask_secrets(endpoint: Endpoint) -> None:
    """Mask the secrets of an endpoint and its deployments from now on in all that the process writes.

    Those are values of environment variables, and of tags, in which people keep secrets too.
    """
    for resource in (endpoint.arm, *(d.arm for d in endpoint.deployments)):
        tags = {str(name): value for name, value in (resource.get("tags") or {}).items()}
        register_secrets({**(resource["properties"].get("environmentVariables") or {}), **tags})


def write_state(path: Path, endpoint: Endpoint, autoscale: Sequence[Mapping[str, Any]] | None = None) -> None:
    """Write the endpoint, its deployments and, where given, its autoscale settings, as ARM's JSON."""
    mask_secrets(endpoint)
    arm: dict[str, Any] = {"endpoint": endpoint.arm, "deployments": [d.arm for d in endpoint.deployments]}
    if autoscale is not None:
        arm["autoscale"] = [dict(one) for one in autoscale]
    write_atomically(path, json.dumps(arm, indent=2) + "\n")


def describe_served(deployment: Deployment) -> dict[str, Any]:
    """Return what a deployment serves and on which instances, with Azure's ids."""
    properties = deployment.arm["properties"]
    return {
        "model": properties.get("model") or "",
        "environment": properties.get("environmentId") or "",
        "code": (properties.get("codeConfiguration") or {}).get("codeId") or "",
        "instance_type": deployment.instance_type,
        "instance_count": deployment.instance_count,
        "provisioning_state": deployment.provisioning_state,
    }
