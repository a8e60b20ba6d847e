"""Room for the traffic: instances times requests at once, against what is served; and autoscale settings."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from worlds import deployment, endpoint

from opslib.model import AutoscaleSetting, Level, Load, Observation, Served, ServedInterval, busiest_load
from opslib.runbooks.steps import capacity_preflight as capacity

START = datetime(2026, 1, 1, tzinfo=UTC)
TEN = Load(requests_per_s=50, concurrency=10, source="busiest minute")


def sized(name, instances=1, each=1):
    return replace(deployment(name, instances=instances), max_concurrent_requests_per_instance=each)


def serving(canary_instances=1, stable_instances=12):
    """blue serves all, with room for 12 requests at once; green has room for one per instance."""
    return endpoint({"blue": 100}, sized("blue", stable_instances), sized("green", canary_instances))


def interval(second, length_s, requests, p50_ms=100.0, p95_ms=100.0):
    served = {"blue": Served(requests, 0, p50_ms, p95_ms, p95_ms, p95_ms)} if requests else {}
    return ServedInterval(START + timedelta(seconds=second), length_s, served)


def observed(*intervals):
    until = START + timedelta(minutes=15)
    return Observation("request log", START, until, until, {}, intervals)


def test_the_load_is_that_of_the_busiest_minute():
    """Rate times mean latency (Little's law); an interval cut to seconds is not the busiest."""
    load = busiest_load(observed(interval(0, 2, 1000), interval(2, 60, 600), interval(62, 60, 1200)))
    assert (load.requests_per_s, load.concurrency) == (20, pytest.approx(2))
    assert load.source == "busiest 60 s of the last 15 minutes, request log"
    assert load.share(25) == pytest.approx(0.5)
    assert busiest_load(observed(interval(0, 2, 10))).requests_per_s == 5  # nothing longer was observed
    assert busiest_load(observed()) is None
    assert busiest_load(observed(interval(0, 60, 0))) is None


def test_a_long_tail_counts_in_the_mean():
    """p95 of five times the median: the mean of such a distribution is 1.6 times its median."""
    tail = busiest_load(observed(interval(0, 60, 600, 100.0, 500.0)))
    assert tail.concurrency == pytest.approx(1.61, abs=0.01)


@pytest.mark.parametrize(
    ("instances", "level", "fix"),
    [
        (9, Level.BLOCKER, "-p deployment=green -p instances=13"),
        (12, Level.WARNING, "-p deployment=green -p instances=13"),
        (13, Level.OK, ""),
    ],
)
def test_a_canary_needs_room_for_all_traffic(instances, level, fix):
    """Ten requests at once: nine instances are too few, twelve nearly full, thirteen enough."""
    finding = capacity.check_canary_size(serving(instances), "green", TEN, [])
    assert finding.level is level
    assert fix in finding.fix
    assert f"room for {instances} requests at once ({instances} x 1)" in finding.evidence


def test_autoscale_may_add_what_the_canary_lacks():
    """It takes minutes: a warning. A maximum that is too low is a blocker."""
    grows = [AutoscaleSetting("cpu", "green", 1, 20)]
    assert capacity.check_canary_size(serving(1), "green", TEN, grows).level is Level.WARNING
    stuck = [AutoscaleSetting("cpu", "green", 1, 1)]
    assert capacity.check_canary_size(serving(1), "green", TEN, stuck).level is Level.BLOCKER


def test_without_traffic_instances_are_compared():
    """Nothing was measured: a target that is smaller than what serves is a warning, with the reason."""
    finding = capacity.check_return_size(serving(1), "green", None, [], "no request log")
    assert finding.level is Level.WARNING
    assert finding.evidence.endswith("what serves now has room for 12; no request log")
    assert "instances=12" in finding.fix
    assert capacity.check_return_size(serving(12), "green", None, []).level is Level.OK


def test_a_small_target_warns_a_rollback_and_does_not_stop_it():
    """An overloaded version that answers is better than one that fails."""
    assert capacity.check_return_size(serving(1), "green", TEN, []).level is Level.WARNING
    assert capacity.check_return_size(serving(13), "green", TEN, []).level is Level.OK
    assert capacity.check_return_size(serving(), "red", TEN, []).level is Level.OK  # named by another check


@pytest.mark.parametrize(
    ("instances", "load", "level"),
    [
        (1, TEN, Level.BLOCKER),
        (11, TEN, Level.WARNING),
        (14, TEN, Level.OK),
        (1, None, Level.WARNING),
    ],
)
def test_a_scale_in_leaves_room_for_the_traffic(instances, load, level):
    """Fewer instances than the load needs are refused; more instances are never."""
    world = serving(stable_instances=13)
    assert capacity.check_scale_size(world, "blue", instances, load, "unknown").level is level


def test_a_deployment_without_traffic_may_shrink():
    """What takes no live traffic needs no room."""
    assert capacity.check_scale_size(serving(3), "green", 1, TEN).level is Level.OK
    assert capacity.check_scale_size(serving(), "red", 1, TEN).level is Level.OK


def test_stable_keeps_its_room_while_the_canary_takes_its_traffic():
    """An autoscale setting may take instances from stable, which must be able to take all traffic back."""
    shrinks = [AutoscaleSetting("cpu", "blue", 2, 12)]
    finding = capacity.check_undo_size(serving(), TEN, shrinks)
    assert finding.level is Level.WARNING
    assert "blue by cpu (2 to 12 instances)" in finding.evidence
    assert capacity.check_undo_size(serving(), replace(TEN, concurrency=1), shrinks).level is Level.OK
    assert capacity.check_undo_size(serving(), None, shrinks).level is Level.WARNING
    assert capacity.check_undo_size(serving(), TEN, [AutoscaleSetting("cpu", "blue", 12, 20)]).level is Level.OK
    assert capacity.check_undo_size(serving(), TEN, []).level is Level.OK


def test_autoscale_follows_the_traffic():
    """A setting that stays behind on the old deployment is a warning."""
    behind = [AutoscaleSetting("cpu", "blue", 1, 3)]
    finding = capacity.check_autoscale_follows(behind, ["blue"], "green")
    assert finding.level is Level.WARNING
    assert "cpu (1 to 3 instances) on blue stays behind, green has none" in finding.evidence
    both = [*behind, AutoscaleSetting("green-cpu", "Green", 1, 3)]
    assert capacity.check_autoscale_follows(both, ["blue"], "green").level is Level.OK
    assert capacity.check_autoscale_follows([], ["blue"], "green").level is Level.OK
