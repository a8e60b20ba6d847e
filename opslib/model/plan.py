"""A change before it is made (findings, steps, plan and undo), and the receipt of each step."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from opslib.displayed import Displayed
from opslib.model.cost import CostChange
from opslib.model.endpoint import Endpoint, Traffic


class Level(StrEnum):
    """How much a finding matters."""

    OK = "ok"
    WARNING = "warning"
    BLOCKER = "blocker"


@dataclass(frozen=True)
class Finding:
    """The result of one preflight check: its evidence, and how to fix what it found."""

    check: str
    level: Level
    evidence: str
    fix: str = field(default="", metadata={"stored_as": "mend"})

    @classmethod
    def ok(cls, check: str, evidence: str) -> "Finding":
        """Return a check that passed."""
        return cls(check, Level.OK, evidence)

    @classmethod
    def blocker(cls, check: str, evidence: str, fix: str) -> "Finding":
        """Return a check that stops the run."""
        return cls(check, Level.BLOCKER, evidence, fix)


class Findings(Displayed, tuple[Finding, ...]):
    """All findings of one preflight, in order."""

    __slots__ = ()


@dataclass(frozen=True)
class SetTraffic:
    """Set the live traffic, and the mirrored traffic where `mirror` is not None; a weight of 0 ends the mirror.

    `bake_s` is how long the stage is observed afterwards [seconds].
    """

    endpoint: str
    before: Traffic
    after: Traffic
    bake_s: float = 0.0
    mirror: Traffic | None = None

    @property
    def mirrored(self) -> Traffic:
        """The mirrored traffic that the step sets; empty where it sets none [percent]."""
        return {name: weight for name, weight in (self.mirror or {}).items() if weight}


@dataclass(frozen=True)
class CreateDeployment:
    """Create a deployment from a definition file, at zero traffic."""

    endpoint: str
    deployment: str
    definition: str
    instance_type: str
    instance_count: int
    model: str
    replacements: Mapping[str, Any] = field(default_factory=dict)
    """Values that replace the definition's own, by dotted name."""


@dataclass(frozen=True)
class DeleteDeployment:
    """Delete a deployment that takes no traffic."""

    endpoint: str
    deployment: str


@dataclass(frozen=True)
class DeleteRule:
    """Delete an autoscale setting or an alert rule; where `before` is known, only if it is still that."""

    endpoint: str
    rule: str
    id: str
    api_version: str
    before: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class SetRule:
    """Create an autoscale setting or an alert rule, or replace what is there; both are the resource's JSON."""

    endpoint: str
    rule: str
    id: str
    api_version: str
    before: Mapping[str, Any] | None
    body: Mapping[str, Any]


@dataclass(frozen=True)
class RestoreRule:
    """Create an autoscale setting or an alert rule as it was; `body` is the resource's JSON."""

    endpoint: str
    rule: str
    id: str
    api_version: str
    body: Mapping[str, Any]


@dataclass(frozen=True)
class SetInstanceCount:
    """Scale a deployment to a number of instances."""

    endpoint: str
    deployment: str
    before: int
    after: int


@dataclass(frozen=True)
class SendProbes:
    """Send requests and check the answers; to one deployment, or, where it is empty, as the router decides."""

    endpoint: str
    deployment: str
    requests: int


Rule = SetRule | DeleteRule | RestoreRule

Step = SetTraffic | CreateDeployment | DeleteDeployment | SetInstanceCount | SendProbes | Rule


@dataclass(frozen=True)
class Plan(Displayed):
    """The state before, the steps, and their undo, which is made before anything is applied; what both cost."""

    endpoint: str
    before: Endpoint
    steps: tuple[Step, ...]
    undo: tuple[Step, ...]
    changes: tuple["Change", ...]
    cost: CostChange | None = None


@dataclass(frozen=True)
class Change:
    """One field that the plan changes."""

    what: str
    before: str
    after: str


@dataclass(frozen=True)
class Receipt:
    """Proof of a change in Azure: the request, and the correlation id under which Azure logged it."""

    operation: str
    resource: str
    correlation_id: str
    started_at: datetime
    duration_s: float
    changed: bool = True

    @classmethod
    def unchanged(cls, operation: str, resource: str) -> "Receipt":
        """Return the receipt of a change that was there already: no request was sent."""
        return cls(operation, resource, "", datetime.now(UTC), 0.0, changed=False)
