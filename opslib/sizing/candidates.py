"""Instance types and counts side by side: room, headroom, p95, cost; which are enough, and which none betters."""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from opslib.model import HOURS_PER_MONTH
from opslib.model.text import percent
from opslib.sizing.demand import Demand, LatencyCurve

TARGET_USE = 0.7
"""Share of the requests at once that the documented rule plans to use, 30 % of headroom [fraction].

Source: Microsoft Learn, "CLI (v2) managed online deployment YAML schema", request settings:
instances = ceil(requests per second x latency / 0.7 / concurrent requests per instance).
"""

AVAILABLE = 3
"""Instances that Microsoft Learn recommends for availability. Source: as above [count]."""

AROUND = 2
"""Counts that are shown below and above what the present instance type needs; of others, the next one [count]."""


@dataclass(frozen=True)
class Offer:
    """An instance type of the region.

    Attributes
    ----------
    instance_type, cores
        Its name, and cores of one instance [count].
    price
        List price of one instance for an hour; None where none was found.
    most
        Most instances for which the quota has cores; None where it is unknown.
    """

    instance_type: str
    cores: int
    price: Decimal | None = None
    most: int | None = None


@dataclass(frozen=True)
class Limits:
    """What a candidate must hold."""

    max_p95_ms: float
    max_use: float = TARGET_USE
    min_instances: int = AVAILABLE


@dataclass(frozen=True)
class Candidate:
    """One instance type and count.

    Attributes
    ----------
    concurrent
        Requests at once per instance [count].
    headroom
        Free share of the requests at once, or of the busiest processor where that is less, at the peak [fraction].
    processor_percent
        Use of the busiest processor at the peak, in proportion to the load [percent]; None where unknown.
    p95_ms
        At the peak; None where no such load was measured on this instance type.
    per_month
        At list prices; None where no price was found.
    measured
        Whether the speed of this instance type was measured; else equal work per core is assumed.
    problems
        What it does not hold; none: it is enough.
    current
        Whether this is what runs now.
    """

    instance_type: str
    instances: int
    concurrent: int
    headroom: float
    processor_percent: float | None
    p95_ms: float | None
    per_month: Decimal | None
    measured: bool
    problems: tuple[str, ...]
    current: bool = False

    @property
    def enough(self) -> bool:
        """Whether it holds every limit, as far as that is known."""
        return not self.problems

    def __str__(self) -> str:
        """Count and instance type."""
        return f"{self.instances} x {self.instance_type}"


def instances_needed(requests_per_s: float, mean_s: float, concurrent: int, use: float = TARGET_USE) -> int:
    """Return the instances of the documented rule: ceil(rate x latency / use / concurrent), at least 1.

    Examples
    --------
    >>> instances_needed(100.0, 0.1, 2), instances_needed(7.0, 0.1, 1), instances_needed(0.0, 0.0, 1)
    (8, 1, 1)
    """
    return max(1, math.ceil(round(requests_per_s * mean_s / use / concurrent, 9)))


def make_candidates(
    demand: Demand, offers: Iterable[Offer], curves: dict[str, LatencyCurve], limits: Limits
) -> tuple[Candidate, ...]:
    """Return what runs now, and for each instance type the counts around what it needs.

    Parameters
    ----------
    curves
        Latency by instance type (lower case), of those that were measured.
    """
    known = {offer.instance_type.lower(): offer for offer in offers}
    own = known.get(demand.instance_type.lower(), Offer(demand.instance_type, 1))
    found: list[Candidate] = []
    for key, offer in ({own.instance_type.lower(): own} | known).items():
        ratio = offer.cores / own.cores if own.cores else 1.0
        concurrent = max(1, math.floor(demand.concurrent * ratio))
        needed = _needed(demand, concurrent, ratio, limits)
        counts = {needed, needed + 1}
        if key == own.instance_type.lower():
            counts = {demand.instances, *range(max(1, needed - AROUND), needed + AROUND + 1)}
        found += [
            _candidate(demand, offer, (count, concurrent, ratio), curves.get(key), limits)
            for count in sorted(counts)
        ]
    return tuple(found)


def _needed(demand: Demand, concurrent: int, ratio: float, limits: Limits) -> int:
    """Return the count that room, processors and availability need, the largest of the three."""
    rate = demand.peak.requests_per_s if demand.peak else 0.0
    busiest = demand.utilization.busiest
    by_processor = demand.instances * busiest[1] / 100 / limits.max_use / ratio if busiest else 0.0
    return max(
        instances_needed(rate, demand.mean_s, concurrent, limits.max_use),
        math.ceil(round(by_processor, 9)),
        limits.min_instances,
    )


def _candidate(
    demand: Demand, offer: Offer, size: tuple[int, int, float], curve: LatencyCurve | None, limits: Limits
) -> Candidate:
    count, concurrent, ratio = size
    load = demand.peak.concurrency if demand.peak else 0.0
    use, busiest = load / (count * concurrent), demand.utilization.busiest
    processor = busiest[1] * demand.instances / count / ratio if busiest else None
    p95_ms = curve.p95_at(load / count) if curve else None
    problems = []
    if use > limits.max_use:
        problems.append(f"uses {percent(use)} of its requests at once, limit {percent(limits.max_use)}")
    if processor is not None and processor > 100 * limits.max_use:
        problems.append(f"{busiest[0] if busiest else ''} at {processor:.0f} %, limit {percent(limits.max_use)}")
    if p95_ms is not None and p95_ms > limits.max_p95_ms:
        problems.append(f"p95 {p95_ms:.0f} ms, limit {limits.max_p95_ms:g} ms")
    if count < limits.min_instances:
        problems.append(f"fewer than {limits.min_instances} instances")
    if offer.most is not None and count > offer.most:
        problems.append(f"the quota has room for {offer.most}")
    return Candidate(
        offer.instance_type,
        count,
        concurrent,
        1 - max(use, (processor or 0.0) / 100),
        processor,
        p95_ms,
        None if offer.price is None else offer.price * count * HOURS_PER_MONTH,
        curve is not None,
        tuple(problems),
        current=offer.instance_type.lower() == demand.instance_type.lower() and count == demand.instances,
    )


def pareto_front(candidates: Sequence[Candidate]) -> tuple[Candidate, ...]:
    """Return the candidates, by cost, that no other betters in cost or headroom without being worse in the other.

    Candidates that are not enough, or have no price, are left out.
    """
    priced = [one for one in candidates if one.enough and one.per_month is not None]
    front: list[Candidate] = []
    for one in sorted(priced, key=lambda one: (one.per_month or 0, -one.headroom)):
        if not front or one.headroom > front[-1].headroom:
            front.append(one)
    return tuple(front)
