"""Everything that a diagnosis judges; a part that could not be read holds the reason instead."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import datetime

from opslib.model import Deployment, Endpoint, ProbeResult
from opslib.model.quota import Quota
from opslib.model.surroundings import Unread
from opslib.model.symptoms import AnswerCount, Attempt, Certificate, LastOperation, Utilization
from opslib.review.facts import Facts as Surroundings

SERVER = "InferenceServer"
INITIALIZER = "StorageInitializer"
CONTAINERS = (SERVER, INITIALIZER)
"""Containers of an instance, by Azure's names."""


@dataclass(frozen=True)
class DeploymentFacts:
    """What was read of one deployment: its last operation, logs by container, and utilization."""

    deployment: Deployment
    operation: LastOperation | Unread | None
    logs: Mapping[str, str | Unread]
    utilization: Utilization | Unread

    @property
    def name(self) -> str:
        """Name of the deployment."""
        return self.deployment.name

    def log(self, container: str) -> str:
        """Text of a container's log; "" where it has none or could not be read."""
        text = self.logs.get(container, "")
        return text if isinstance(text, str) else ""


@dataclass(frozen=True)
class Facts:
    """What was read of one endpoint.

    Attributes
    ----------
    endpoint
        The endpoint and its deployments.
    since, at
        Time over which requests and changes were read; `at` is when the endpoint was read [UTC].
    operation
        The endpoint's last operation.
    answers
        Requests by deployment and status.
    attempts
        Changes in the activity log, refused ones included, newest first.
    probes
        Results of the probes that were sent; empty without a file of probes.
    certificate
        The TLS certificate of the scoring address.
    quotas
        Cores of each family of instance types in the endpoint's region.
    surroundings
        Workspace, roles, identities, key events and assets, as the security review reads them.
    """

    endpoint: Endpoint
    since: datetime
    at: datetime
    operation: LastOperation | Unread | None
    deployments: tuple[DeploymentFacts, ...]
    answers: tuple[AnswerCount, ...] | Unread
    attempts: tuple[Attempt, ...] | Unread
    probes: tuple[ProbeResult, ...] | Unread
    certificate: Certificate | Unread
    quotas: tuple[Quota, ...] | Unread
    surroundings: Surroundings

    @property
    def workspace_name(self) -> str:
        """Name of the endpoint's workspace."""
        parts = self.endpoint.id.split("/")
        return parts[-3] if len(parts) > 3 else "WORKSPACE"

    def of(self, deployment: str) -> "Facts":
        """Return what concerns one deployment, and the endpoint itself."""
        wanted = deployment.lower()
        attempts, answers = self.attempts, self.answers
        if not isinstance(attempts, Unread):
            own = {wanted, self.endpoint.name.lower()}
            attempts = tuple(one for one in attempts if one.name.lower() in own)
        if not isinstance(answers, Unread):
            answers = tuple(one for one in answers if one.deployment.lower() in {wanted, ""})
        kept = tuple(one for one in self.deployments if one.name.lower() == wanted)
        return replace(self, deployments=kept, attempts=attempts, answers=answers)

    def unread(self) -> Iterator[tuple[str, str]]:
        """Yield each part that could not be read, and why."""
        parts: dict[str, object] = {
            "last operation of the endpoint": self.operation,
            "requests by status": self.answers,
            "activity log": self.attempts,
            "probes": self.probes,
            "certificate": self.certificate,
            "quota": self.quotas,
            "workspace settings": self.surroundings.workspace,
            "role assignments": self.surroundings.assignments,
            "roles of the endpoint's identity": self.surroundings.identities,
            "key events of the activity log": self.surroundings.key_events,
        }
        for one in self.deployments:
            parts[f"last operation of {one.name}"] = one.operation
            parts[f"utilization of {one.name}"] = one.utilization
            parts |= {f"log of {one.name}'s {container}": log for container, log in one.logs.items()}
        for name, part in parts.items():
            if isinstance(part, Unread):
                yield name, part.reason
