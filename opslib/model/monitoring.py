"""What watches an endpoint, and what scales its deployments by itself."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True)
class AutoscaleSetting:
    """An enabled autoscale setting of one deployment, over all of its profiles.

    Attributes
    ----------
    name
        The setting's name.
    deployment
        Name of the deployment that it scales.
    minimum, maximum
        Fewest and most instances that a profile allows [count].
    """

    name: str
    deployment: str
    minimum: int
    maximum: int

    def __str__(self) -> str:
        """Name and range."""
        return f"{self.name} ({self.minimum} to {self.maximum} instances)"


@dataclass(frozen=True)
class DeploymentRule:
    """An autoscale setting or a metric alert rule of one deployment, enabled or not.

    Attributes
    ----------
    kind
        "autoscale setting" or "alert rule".
    others
        Names of the other resources that it also concerns.
    arm
        The resource's whole JSON, as Azure reports it.
    """

    kind: str
    name: str
    id: str
    api_version: str
    others: tuple[str, ...]
    arm: Mapping[str, Any] = field(repr=False)

    @property
    def writable(self) -> Mapping[str, Any]:
        """The JSON that creates it again, without what Azure adds."""
        return {name: self.arm[name] for name in ("location", "tags", "properties") if self.arm.get(name)}

    def __str__(self) -> str:
        """Kind and name."""
        return f"{self.kind} {self.name}"


@dataclass(frozen=True)
class FiredAlert:
    """An alert that has fired and is not resolved; severity 0 is critical, 4 is verbose."""

    rule: str
    severity: int
    since: str
    target: str


@dataclass(frozen=True)
class Monitoring:
    """What watches an endpoint now.

    Attributes
    ----------
    logs
        Categories of logs and metrics that a diagnostic setting keeps.
    rules
        Whether each metric alert rule on the endpoint or a deployment of it is enabled, by name.
    fired
        Alerts on them that are not resolved.
    problem
        Why this could not be read, else empty.
    """

    logs: frozenset[str] = frozenset()
    rules: Mapping[str, bool] = field(default_factory=dict)
    fired: tuple[FiredAlert, ...] = ()
    problem: str = ""
