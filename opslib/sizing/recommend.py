"""The size that the evidence supports, with its limit, and what it cannot show."""

from collections.abc import Sequence
from dataclasses import dataclass

from opslib.cost.text import money
from opslib.displayed import Displayed
from opslib.model.text import percent
from opslib.sizing.candidates import Candidate, Limits, Measured, pareto_front
from opslib.sizing.demand import Demand, LatencyCurve, LatencyPoint


@dataclass(frozen=True)
class LoadTest:
    """One step of a load test: what was sent to a deployment without traffic, and what came back.

    Attributes
    ----------
    deployment, instance_type
        What was tested.
    wanted_per_s, sent, failures
        Rate that was wanted, requests sent, answers that were not as expected.
    load, p95_ms
        Requests that one instance worked on at once, on the mean, and the p95 at the client.
    stopped
        Why the test ended before its time; empty where it did not.
    answered_per_s
        Requests that one instance answered as expected [per second].
    """

    deployment: str
    instance_type: str
    wanted_per_s: float
    sent: int
    failures: int
    load: float
    p95_ms: float | None
    stopped: str = ""
    answered_per_s: float = 0.0


def measured_types(demand: Demand, tests: Sequence[LoadTest]) -> dict[str, Measured]:
    """Return what tests have measured of instance types, by their name in lower case.

    Types are compared at the same rate, not at as many requests at once: a slower one has more at the same rate.
    """
    found: dict[str, list[LoadTest]] = {}
    for test in tests:
        if test.p95_ms is not None and test.answered_per_s and not test.stopped:
            found.setdefault(test.instance_type.lower(), []).append(test)
    return {name: _measured(demand, some) for name, some in found.items()}


def _measured(demand: Demand, tests: Sequence[LoadTest]) -> Measured:
    slowest_s = max(test.load / test.answered_per_s for test in tests)
    points = ((test.answered_per_s * demand.mean_s, test.p95_ms) for test in tests)
    curve = LatencyCurve(tuple(LatencyPoint(load, p95_ms) for load, p95_ms in points if p95_ms is not None))
    return Measured(curve, slowest_s / demand.mean_s if demand.mean_s else 1.0)


@dataclass(frozen=True)
class Sizing(Displayed):
    """Candidates side by side, and what is recommended.

    Attributes
    ----------
    demand, limits, candidates, tests
        The evidence.
    currency
        Of the costs.
    chosen
        What is recommended; None where the evidence is too little or nothing measured is enough.
    to_measure
        A cheaper candidate whose speed is not known; None where there is none.
    reason
        Why, in one sentence.
    unknown
        What the evidence cannot show.
    commands
        What to run, in order.
    """

    demand: Demand
    limits: Limits
    candidates: tuple[Candidate, ...]
    tests: tuple[LoadTest, ...]
    currency: str
    chosen: Candidate | None
    to_measure: Candidate | None
    reason: str
    unknown: tuple[str, ...]
    commands: tuple[str, ...] = ()

    @property
    def front(self) -> tuple[Candidate, ...]:
        """The Pareto front of cost and headroom."""
        return pareto_front(self.candidates)


def recommend(
    demand: Demand,
    candidates: Sequence[Candidate],
    limits: Limits,
    tests: Sequence[LoadTest],
    currency: str,
    min_requests: int,
) -> Sizing:
    """Recommend the cheapest measured candidate that is enough; without enough requests none."""
    chosen, to_measure = None, None
    if demand.requests >= min_requests and demand.peak:
        chosen = _cheapest([one for one in candidates if one.enough and one.measured and one.p95_ms is not None])
        cheaper = [one for one in candidates if one.enough and not one.measured and _below(one, chosen)]
        to_measure = _cheapest(cheaper)
    return Sizing(
        demand,
        limits,
        tuple(candidates),
        tuple(tests),
        currency,
        chosen,
        to_measure,
        _reason(demand, chosen, candidates, currency, min_requests),
        _unknown(demand, tests, to_measure),
    )


def _cheapest(candidates: Sequence[Candidate]) -> Candidate | None:
    """Return the cheapest; what has no price comes last, by its instances."""
    return min(candidates, key=lambda one: (one.per_month is None, one.per_month or 0, one.instances), default=None)


def _below(one: Candidate, chosen: Candidate | None) -> bool:
    if chosen is None:
        return True
    return one.per_month is not None and chosen.per_month is not None and one.per_month < chosen.per_month


def _reason(
    demand: Demand, chosen: Candidate | None, candidates: Sequence[Candidate], currency: str, min_requests: int
) -> str:
    """Return the sentence: what, on which evidence, within which limit, against what runs now."""
    if demand.requests < min_requests or demand.peak is None:
        return (
            f"no recommendation: {demand.requests:,} requests were served, expected at least {min_requests:,}. "
            "Look back further, or size at a time with traffic"
        )
    peak = (
        f"at the peak {demand.peak.requests_per_s:.3g} requests per second x {1000 * demand.mean_s:.3g} ms mean "
        f"latency ({demand.peak.source})"
    )
    if chosen is None:
        return f"no recommendation: no candidate that was measured holds every limit; {peak}"
    now = next((one for one in candidates if one.current), None)
    verb = "keep" if chosen.current else "change to"
    p95 = "" if chosen.p95_ms is None else f", p95 {chosen.p95_ms:.0f} ms"
    cost = f", {money(chosen.per_month)} {currency} per month"
    before = "" if chosen.current or now is None else f"; now {now}, {money(now.per_month)} {currency}"
    why = f", not enough: {'; '.join(now.problems)}" if before and now and now.problems else ""
    return f"{verb} {chosen}: headroom {percent(chosen.headroom)}{p95}{cost}, {peak}{before}{why}"


def _unknown(demand: Demand, tests: Sequence[LoadTest], to_measure: Candidate | None) -> tuple[str, ...]:
    """Return what the evidence does not show."""
    found = [
        f"p95 above {demand.curve.highest_load:.2g} requests at once per instance: no such load was measured.",
        f"The present number of instances, {demand.instances}, is taken as constant: a scale shifts the curve.",
        "Peaks outside the time that was read, such as a month's end, are not in it.",
    ]
    if demand.utilization.busiest is None:
        found.append("Azure Monitor has no CPU or GPU use of this time: only room and latency were compared.")
    if to_measure:
        found.append(
            f"{to_measure} would be cheaper if it did as much work per core; its speed is not known until it is "
            "measured."
        )
    if tests:
        found.append("The load test's latency includes the network between this machine and the endpoint.")
    return tuple(found)
