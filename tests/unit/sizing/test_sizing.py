"""Sizing: the documented rule, latency against load, candidates, the front and the recommendation, by hand."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from opslib.model import Observation, Served, ServedInterval
from opslib.sizing.candidates import Limits, Offer, instances_needed, make_candidates, pareto_front
from opslib.sizing.demand import Demand, LatencyCurve, LatencyPoint, Utilization, measured_demand
from opslib.sizing.recommend import LoadTest, Sizing, measured_types, recommend

START = datetime(2026, 11, 2, 9, 0, tzinfo=UTC)
TYPE, LARGER = "Standard_F2s_v2", "Standard_F4s_v2"
LIMITS = Limits(max_p95_ms=200.0, min_instances=1)
OFFERS = (Offer(TYPE, 2, Decimal("0.1")), Offer(LARGER, 4, Decimal("0.19")))


def observed(*per_minute: int, latency_ms: float = 100.0) -> Observation:
    """Minutes in which blue answers so many requests, each in the same time, and green one slow one."""
    slow = Served(1, 0, 900.0, 900.0, 900.0, 900.0)
    served = [Served(n, 0, latency_ms, latency_ms, latency_ms, latency_ms) for n in per_minute]
    minutes = tuple(
        ServedInterval(START + timedelta(minutes=at), 60.0, {"Blue": one, "green": slow})
        for at, one in enumerate(served)
    )
    total = {"Blue": Served(sum(per_minute), 0, latency_ms, latency_ms, latency_ms, latency_ms), "green": slow}
    return Observation("request log", START, START + timedelta(minutes=len(per_minute)), None, total, minutes)


def demand(*per_minute: int, instances: int = 2, concurrent: int = 2, **used: float) -> Demand:
    utilization = Utilization(**used)  # type: ignore[arg-type]
    return measured_demand(observed(*per_minute), "blue", TYPE, instances, concurrent, utilization)


def sized(
    found: Demand,
    limits: Limits = LIMITS,
    offers: tuple[Offer, ...] = OFFERS,
    tests: tuple[LoadTest, ...] = (),
) -> Sizing:
    candidates = make_candidates(found, offers, limits, measured_types(found, tests))
    return recommend(found, candidates, limits, tests, "USD", 200)


@pytest.mark.parametrize(
    ("rate", "mean_s", "concurrent", "instances"),
    [(100, 0.1, 2, 8), (7, 0.1, 1, 1), (7.1, 0.1, 1, 2), (0, 0, 1, 1), (500, 0.02, 4, 4)],
)
def test_the_documented_rule(rate, mean_s, concurrent, instances):
    """ceil(rate x latency / 0.7 / concurrent), by hand: 100 x 0.1 / 0.7 / 2 is 7.14, so 8."""
    assert instances_needed(rate, mean_s, concurrent) == instances


def test_the_busiest_minute_of_one_deployment_counts():
    """600 requests a minute of 100 ms are 10 per second and 1 at once; another deployment's are left out."""
    found = demand(60, 600, 300)
    assert found.peak is not None
    assert found.peak.requests_per_s == pytest.approx(10.0)
    assert found.peak.concurrency == pytest.approx(1.0)
    assert found.mean_s == pytest.approx(0.1)
    assert [round(point.load, 3) for point in found.curve.points] == [0.05, 0.5, 0.25]
    assert (found.requests, found.p95_ms) == (960, 100.0)


def test_latency_is_known_only_up_to_the_load_that_was_measured():
    """Between points it is interpolated, below them not less than the lowest, above them unknown."""
    curve = LatencyCurve((LatencyPoint(1.0, 50.0), LatencyPoint(1.1, 60.0), LatencyPoint(4.0, 200.0)))
    assert curve.p95_at(1.05) == 55.0
    assert curve.p95_at(2.5) == pytest.approx(60.0 + 140.0 * 1.4 / 2.9)
    assert curve.p95_at(0.01) == 50.0
    assert curve.p95_at(5.1) is None
    assert LatencyCurve(()).p95_at(1.0) is None


def test_room_headroom_and_cost_of_each_candidate():
    """4,800 a minute of 100 ms are 8 at once: ceil(8 / 0.7 / 2) is 6, or 3 of the type twice as large."""
    found = sized(demand(4800, instances=8))
    own = {one.instances: one for one in found.candidates if one.instance_type == TYPE}
    assert sorted(own) == [4, 5, 6, 7, 8]
    assert own[6].headroom == pytest.approx(1 - 8 / 12)
    assert own[6].per_month == Decimal("0.1") * 6 * 730
    assert own[5].problems == ("uses 80 % of its requests at once, limit 70 %",)
    assert own[8].current
    larger = {one.instances: one for one in found.candidates if one.instance_type == LARGER}
    assert sorted(larger) == [3, 4]
    assert larger[3].headroom == own[6].headroom
    assert larger[3].p95_ms is None


def test_the_cheapest_that_was_measured_is_recommended_and_a_cheaper_one_is_to_be_measured():
    """6 hold 8 requests at once; three of the larger type would cost less if they did as much work per core."""
    found = sized(demand(4800, instances=7))
    assert str(found.chosen) == f"6 x {TYPE}"
    assert str(found.to_measure) == f"3 x {LARGER}"
    assert "speed is not known" in " ".join(found.unknown)
    assert "80 requests per second x 100 ms mean latency" in found.reason


def load_tests(*steps: tuple[float, float, float]) -> tuple[LoadTest, ...]:
    """Steps of a load test of the larger type: requests per second of one instance, mean and p95 latency [ms]."""
    return tuple(
        LoadTest("f4", LARGER, rate, 100, 0, rate * mean / 1000, p95, answered_per_s=rate)
        for rate, mean, p95 in steps
    )


def test_a_type_that_was_measured_is_sized_by_its_own_latency():
    """80 per second that take 300 ms there are 24 at once: ceil(24 / 0.7 / 4) is 9, with the p95 of 8.9 per second.

    By the present type's 100 ms it were 3, each with three times the rate that it was measured at.
    """
    found = sized(demand(4800, instances=7), tests=load_tests((5, 300, 110), (10, 300, 150), (20, 300, 190)))
    larger = [one for one in found.candidates if one.instance_type == LARGER]
    assert [one.instances for one in larger] == [9, 10]
    assert larger[0].headroom == pytest.approx(1 - 24 / 36)
    assert larger[0].p95_ms == 150
    assert str(found.chosen) == f"6 x {TYPE}"


def test_a_faster_type_that_was_measured_needs_fewer_instances():
    """At 50 ms 80 per second are 4 at once: ceil(4 / 0.7 / 4) is 2, if 40 per second were measured."""
    tests = load_tests((10, 50, 60), (20, 50, 60), (40, 50, 60))
    assert str(sized(demand(4800, instances=7), tests=tests).chosen) == f"2 x {LARGER}"
    assert str(sized(demand(4800, instances=7), tests=tests[:1]).chosen) == f"6 x {TYPE}"


def test_half_the_cores_take_twice_as_long_for_one_request_at_once():
    """Equal work per core: 1 at once of 100 ms is 2 of 200 ms, so ceil(2 / 0.7) is 3, as 2 of the present type."""
    half = Offer("Standard_F1s_v2", 1, Decimal("0.05"))
    found = sized(demand(600, concurrent=1), offers=(*OFFERS, half))
    enough = {one.instance_type: one.instances for one in reversed(found.candidates) if one.enough}
    assert (enough[TYPE], enough["Standard_F1s_v2"]) == (2, 3)


@pytest.mark.parametrize(
    ("found", "limits", "instances"),
    [
        (demand(300, instances=2, cpu_percent=90.0), LIMITS, 3),  # ceil(2 x 0.9 / 0.7)
        (demand(300, instances=2, cpu_percent=30.0, gpu_percent=99.0), LIMITS, 3),
        (demand(300, instances=4), Limits(200.0, min_instances=3), 3),
        (demand(300, instances=4, cpu_percent=10.0), LIMITS, 1),
    ],
)
def test_processors_and_availability_count_too(found, limits, instances):
    """The count is the largest that room, the busiest processor and the fewest instances need."""
    enough = [one.instances for one in sized(found, limits).candidates if one.enough and one.instance_type == TYPE]
    assert min(enough) == instances


def test_quota_and_latency_limit_what_is_enough():
    """A count above the quota, and a p95 above its limit, are named."""
    offers = (Offer(TYPE, 2, Decimal("0.1"), most=1),)
    found = sized(demand(300, instances=2), Limits(50.0, min_instances=1), offers)
    problems = {one.instances: one.problems for one in found.candidates}
    assert problems[2] == ("p95 100 ms, limit 50 ms", "the quota has room for 1")
    assert found.chosen is None
    assert "no candidate that was measured holds every limit" in found.reason


def test_too_few_requests_give_no_recommendation():
    """Absence of data is no evidence that fewer instances are enough."""
    found = sized(demand(150))
    assert (found.chosen, found.to_measure) == (None, None)
    assert found.reason.startswith("no recommendation: 150 requests were served, expected at least 200")


def test_nothing_on_the_front_is_bettered():
    """Along the front both cost and headroom rise; every other candidate is bettered by one on it."""
    found = sized(demand(4800, instances=8))
    front = pareto_front(found.candidates)
    assert all(one.enough for one in front)
    costs = [one.per_month for one in front if one.per_month is not None]
    assert len(costs) == len(front)
    assert costs == sorted(set(costs))
    assert [one.headroom for one in front] == sorted({one.headroom for one in front})
    for one in found.candidates:
        if one not in front and one.per_month and one.enough:
            assert any(
                other.per_month and other.per_month <= one.per_month and other.headroom >= one.headroom
                for other in front
            )


def test_headroom_is_that_of_the_tighter_limit():
    """A processor at 60 % leaves 40 %, although the requests at once would leave far more."""
    found = sized(demand(300, instances=2, cpu_percent=60.0))
    own = {one.instances: one for one in found.candidates if one.instance_type == TYPE}
    assert own[2].headroom == pytest.approx(0.4)
    assert own[4].headroom == pytest.approx(0.7)
    assert own[4].processor_percent == pytest.approx(30.0)
