"""Instance types and counts side by side: room, headroom, p95, cost; which are enough, and which none betters."""

import math
from collections.abc import Iterable, Mapping, Sequence
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
class Measured:
    """What was measured of an instance type.

    Attributes
    ----------
    curve
        Its latency against the requests at once that the same rate causes on the present instance type.
    slower
        Its mean latency, as a multiple of that of the present one.
    """

    curve: LatencyCurve
    slower: float = 1.0


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
    demand: Demand, offers: Iterable[Offer], limits: Limits, measured: Mapping[str, Measured] | None = None
) -> tuple[Candidate, ...]:
    """Return what runs now, and for each instance type the counts around what it needs.

    Parameters
    ----------
    measured
        What was measured of other instance types, by their name in lower case.
    """
    known = {offer.instance_type.lower(): offer for offer in offers}
    own = known.get(demand.instance_type.lower(), Offer(demand.instance_type, 1))
    own_key = own.instance_type.lower()
    speeds = {**(measured or {}), own_key: Measured(demand.curve)}
    found: list[Candidate] = []
    for key, offer in ({own_key: own} | known).items():
        speed = _speed(demand, offer.cores / own.cores if own.cores else 1.0, speeds.get(key))
        needed = _needed(demand, speed, limits)
        counts = {needed, needed + 1}
        if key == own_key:
            counts = {demand.instances, *range(max(1, needed - AROUND), needed + AROUND + 1)}
        found += [_candidate(demand, offer, count, speed, limits) for count in sorted(counts)]
    return tuple(found)


@dataclass(frozen=True)
class _Speed:
    """How fast an instance type is beside the present one: cores, requests at once, mean latency."""

    ratio: float
    concurrent: int
    slower: float
    curve: LatencyCurve | None


def _speed(demand: Demand, ratio: float, measured: Measured | None) -> _Speed:
    """Return the speed of a type; where nothing was measured, equal work per core.

    Of a type whose cores are for less than one request at once, one request takes longer.
    """
    concurrent = max(1, math.floor(demand.concurrent * ratio))
    if measured:
        return _Speed(ratio, concurrent, measured.slower, measured.curve)
    return _Speed(ratio, concurrent, max(1.0, concurrent / (demand.concurrent * ratio or 1.0)), None)


def _needed(demand: Demand, speed: _Speed, limits: Limits) -> int:
    """Return the count that room, processors and availability need, the largest of the three."""
    rate = demand.peak.requests_per_s if demand.peak else 0.0
    busiest = demand.utilization.busiest
    by_processor = demand.instances * busiest[1] / 100 / limits.max_use / speed.ratio if busiest else 0.0
    return max(
        instances_needed(rate, demand.mean_s * speed.slower, speed.concurrent, limits.max_use),
        math.ceil(round(by_processor, 9)),
        limits.min_instances,
    )


def _candidate(demand: Demand, offer: Offer, count: int, speed: _Speed, limits: Limits) -> Candidate:
    load = demand.peak.concurrency if demand.peak else 0.0
    use, busiest = load * speed.slower / (count * speed.concurrent), demand.utilization.busiest
    processor = busiest[1] * demand.instances / count / speed.ratio if busiest else None
    p95_ms = speed.curve.p95_at(load / count) if speed.curve else None
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
        speed.concurrent,
        1 - max(use, (processor or 0.0) / 100),
        processor,
        p95_ms,
        None if offer.price is None else offer.price * count * HOURS_PER_MONTH,
        speed.curve is not None,
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
