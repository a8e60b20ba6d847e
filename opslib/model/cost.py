"""What instances cost at list prices: of one deployment, of an endpoint, and before and after a change."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from decimal import Decimal

from opslib.displayed import Displayed

HOURS_PER_MONTH = 730
"""Length of a month in costs. Source: Azure's pricing calculator, 365 days / 12 months x 24 hours [hours]."""


@dataclass(frozen=True)
class Price:
    """The list price of one instance for one hour, and since when it applies, as the source gives it."""

    instance_type: str
    per_hour: Decimal
    since: str


@dataclass(frozen=True)
class PriceList:
    """List prices of instance types in one region, as one source gave them at one time.

    Attributes
    ----------
    source
        URL of the API.
    region, currency, read_at
        Where they apply, what they are paid in, when they were read [UTC].
    prices
        By instance type, in lower case.
    missing
        Why an instance type has no price, by instance type, in lower case.
    """

    source: str
    region: str
    currency: str
    read_at: datetime
    prices: Mapping[str, Price] = field(default_factory=dict)
    missing: Mapping[str, str] = field(default_factory=dict)

    def find(self, instance_type: str) -> Price | None:
        """Return the price of an instance type, whose name ignores case; None where there is none."""
        return self.prices.get(instance_type.lower())


@dataclass(frozen=True)
class DeploymentCost:
    """What one deployment's instances cost. They are billed as long as it exists, whatever traffic it takes.

    Attributes
    ----------
    deployment, instance_type, instances
        What is billed.
    weight, mirrored
        Its live and its mirrored traffic [percent].
    state
        Azure's provisioning state.
    price
        Of one instance for one hour; None where no price was found.
    """

    deployment: str
    instance_type: str
    instances: int
    price: Decimal | None
    weight: int = 0
    mirrored: int = 0
    state: str = "Succeeded"

    @property
    def per_hour(self) -> Decimal | None:
        """Cost of all its instances for one hour; None where no price was found."""
        return None if self.price is None else self.price * self.instances

    @property
    def per_month(self) -> Decimal | None:
        """Cost of all its instances for `HOURS_PER_MONTH`; None where no price was found."""
        return None if self.per_hour is None else self.per_hour * HOURS_PER_MONTH


@dataclass(frozen=True)
class EndpointCost:
    """What the deployments of one endpoint cost together."""

    deployments: tuple[DeploymentCost, ...]

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Names of the deployments without a price: their cost is unknown and is not in the sums."""
        return tuple(one.deployment for one in self.deployments if one.price is None)

    @property
    def per_hour(self) -> Decimal:
        """Cost for one hour of all deployments that have a price."""
        return sum((one.per_hour for one in self.deployments if one.per_hour is not None), Decimal(0))

    @property
    def per_month(self) -> Decimal:
        """Cost for `HOURS_PER_MONTH` of all deployments that have a price."""
        return self.per_hour * HOURS_PER_MONTH

    def find(self, deployment: str) -> DeploymentCost | None:
        """Return one deployment's cost, or None. Azure's names ignore case."""
        return next((one for one in self.deployments if one.deployment.lower() == deployment.lower()), None)


@dataclass(frozen=True)
class Overlap:
    """The time for which two versions run at once: a canary's stages, as planned and at most [seconds].

    `per_hour` is what the canary's instances cost; None where no price was found.
    """

    deployment: str
    per_hour: Decimal | None
    planned_s: float
    longest_s: float

    @property
    def planned(self) -> Decimal | None:
        """Cost of the canary's instances for the planned time."""
        return self._cost(self.planned_s)

    @property
    def longest(self) -> Decimal | None:
        """Cost of the canary's instances for the longest time."""
        return self._cost(self.longest_s)

    def _cost(self, length_s: float) -> Decimal | None:
        return None if self.per_hour is None else self.per_hour * Decimal(str(length_s)) / 3600


@dataclass(frozen=True)
class CostChange(Displayed):
    """What an endpoint costs before, during and after a change.

    `during` has every deployment of both, each with the larger number of instances; `overlap` is a canary's.
    """

    before: EndpointCost
    during: EndpointCost
    after: EndpointCost
    prices: PriceList
    overlap: Overlap | None = None

    @property
    def unpriced(self) -> tuple[str, ...]:
        """Names of the deployments without a price."""
        return self.during.unpriced
