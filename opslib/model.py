"""The frozen values that flow from stage to stage. A later stage never changes an earlier one's value."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

Traffic = Mapping[str, int]
"""Share of live traffic by deployment [percent]; sums to 0 or 100."""

FAILURE_CODES = frozenset({408, 424, 429})
"""Scoring codes below 500 that count as the deployment's failures: timed out, model error, too many pending.

Source: "Troubleshoot online endpoints", HTTP status codes of managed online endpoints. 401 and 404 are the
caller's or the router's, not the deployment's.
"""


def is_failure(status: int) -> bool:
    """Say whether a scoring status counts against the deployment that answered."""
    return status >= 500 or status in FAILURE_CODES


class Outcome(StrEnum):
    """How a run ended. Only the first two are good."""

    SUCCEEDED = "succeeded"
    PLANNED = "planned"
    ROLLED_BACK = "rolled_back"
    HELD = "held"
    REFUSED = "refused"
    FAILED = "failed"
    ABORTED = "aborted"

    @property
    def exit_code(self) -> int:
        """What `opslib run` exits with."""
        return _EXIT_CODES[self]

    @property
    def good(self) -> bool:
        """Whether the run did what it was asked for."""
        return self.exit_code == 0


_EXIT_CODES = {
    Outcome.SUCCEEDED: 0,
    Outcome.PLANNED: 0,
    Outcome.FAILED: 1,
    Outcome.REFUSED: 2,
    Outcome.ROLLED_BACK: 3,
    Outcome.HELD: 4,
    Outcome.ABORTED: 5,
}


@dataclass(frozen=True)
class Scope:
    """A workspace, by the names of the ecosystem's ``config.json``, and who is asking."""

    subscription_id: str
    resource_group: str
    workspace_name: str
    resource_manager: str
    principal: str = ""

    @property
    def workspace_id(self) -> str:
        """ARM id of the workspace."""
        return (
            f"/subscriptions/{self.subscription_id}/resourceGroups/{self.resource_group}"
            f"/providers/Microsoft.MachineLearningServices/workspaces/{self.workspace_name}"
        )


@dataclass(frozen=True)
class Deployment:
    """One deployment as Azure reports it; `arm` is the resource's whole JSON."""

    name: str
    provisioning_state: str
    model: str
    environment: str
    code: str
    instance_type: str
    instance_count: int
    max_concurrent_requests_per_instance: int
    arm: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """ARM id."""
        return str(self.arm["id"])

    @property
    def ready(self) -> bool:
        """Whether it can take traffic."""
        return self.provisioning_state == "Succeeded" and self.instance_count > 0


@dataclass(frozen=True)
class Endpoint:
    """One endpoint and its deployments as Azure reports them; `arm` is the endpoint's whole JSON."""

    name: str
    provisioning_state: str
    auth_mode: str
    scoring_uri: str
    traffic: Traffic
    mirror_traffic: Traffic
    tags: Mapping[str, str]
    deployments: tuple[Deployment, ...]
    arm: Mapping[str, Any] = field(repr=False, compare=False)

    @property
    def id(self) -> str:
        """ARM id."""
        return str(self.arm["id"])

    @property
    def stable(self) -> str | None:
        """The deployment with most of the live traffic; None where nothing serves."""
        return max(self.traffic, key=lambda name: (self.traffic[name], name), default=None)

    def find(self, name: str) -> Deployment | None:
        """Return the deployment of that name, or None. Azure's names ignore case."""
        return next((d for d in self.deployments if d.name.lower() == name.lower()), None)

    def deployment_names(self) -> str:
        """List the deployments in words, for messages."""
        return ", ".join(d.name for d in self.deployments) or "none"


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    BLOCKER = "blocker"


@dataclass(frozen=True)
class Finding:
    """What preflight saw: one check, its evidence, and a way to mend it."""

    check: str
    level: Level
    evidence: str
    mend: str = ""


@dataclass(frozen=True)
class SetTraffic:
    """Route live traffic; `bake_s` is how long it is watched afterwards [seconds]."""

    endpoint: str
    before: Traffic
    after: Traffic
    bake_s: float = 0.0


@dataclass(frozen=True)
class CreateDeployment:
    """Create a deployment from a definition file, at zero traffic."""

    endpoint: str
    deployment: str
    definition: str
    instance_type: str
    instance_count: int
    model: str


@dataclass(frozen=True)
class DeleteDeployment:
    """Delete a deployment that takes no traffic."""

    endpoint: str
    deployment: str


@dataclass(frozen=True)
class SetInstanceCount:
    """Scale a deployment to a number of instances."""

    endpoint: str
    deployment: str
    before: int
    after: int


@dataclass(frozen=True)
class SendProbes:
    """Ask the deployment itself (or, where it is empty, whoever the router picks) and check the answers."""

    endpoint: str
    deployment: str
    requests: int


Step = SetTraffic | CreateDeployment | DeleteDeployment | SetInstanceCount | SendProbes


@dataclass(frozen=True)
class Plan:
    """Before, after, the steps between, and the undo - made before anything is applied."""

    endpoint: str
    before: Endpoint
    steps: tuple[Step, ...]
    undo: tuple[Step, ...]
    changes: tuple["Change", ...]


@dataclass(frozen=True)
class Change:
    """One field that the plan changes."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Served:
    """What one deployment served in one interval.

    `failures` counts answers for which `is_failure` holds; latencies are at the gateway, of all answers; None
    where nothing was served. `above` is (threshold [ms], requests slower than it [count]), thresholds rising.
    """

    requests: int
    failures: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    above: tuple[tuple[float, int], ...] = ()

    @property
    def failure_rate(self) -> float | None:
        """Failures per request [fraction]; None without requests."""
        return self.failures / self.requests if self.requests else None


@dataclass(frozen=True)
class Interval:
    """What every deployment served in one interval; a deployment that is not named served nothing."""

    start: datetime
    length_s: float
    served: Mapping[str, Served]

    @property
    def end(self) -> datetime:
        """End of the interval."""
        return self.start + timedelta(seconds=self.length_s)


@dataclass(frozen=True)
class Observation:
    """What was served between two times, as one source saw it.

    `total` is over the whole time, `intervals` the same in the source's grain. `watermark` is the time up to
    which the source is known to be complete; None where it has shown nothing yet.
    """

    source: str
    since: datetime
    until: datetime
    watermark: datetime | None
    total: Mapping[str, Served]
    intervals: tuple[Interval, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the source has shown everything up to `until`."""
        return self.watermark is not None and self.watermark >= self.until


@dataclass(frozen=True)
class ProbeResult:
    """One request that the runbook itself sent; `deployment` is who answered, where the answer tells."""

    sent_at: datetime
    status: int | None
    latency_ms: float
    deployment: str
    client_request_id: str
    problem: str = ""

    @property
    def ok(self) -> bool:
        """Whether the answer was the one that was asked for."""
        return not self.problem


@dataclass(frozen=True)
class Receipt:
    """Proof of a change at Azure: what was sent, and the ids under which Azure knows it."""

    operation: str
    resource: str
    correlation_id: str
    started_at: datetime
    duration_s: float
    changed: bool = True
