"""One look before and after a change: decisions, precedence, and its interval against published values."""

from datetime import UTC, datetime

import pytest

from opslib.judge.before_after import CriterionResult, ServedLimits, judge, wilson_interval
from opslib.model import Observation, Served

LIMITS = ServedLimits(min_requests=100, max_failure_rate=0.02, max_p95_ms=500, max_p95_ratio=1.5)
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def served(requests, failures, p50_ms=None, p95_ms=None, p99_ms=None):
    return Served(requests, failures, p50_ms=p50_ms, p95_ms=p95_ms, p99_ms=p99_ms)


GOOD = served(1000, 1, 20, 100, 150)


def observed(canary, stable=GOOD):
    total = {name: served for name, served in (("green", canary), ("blue", stable)) if served}
    return Observation("request log", NOW, NOW, NOW, total)


def decide(canary, stable=GOOD, *, over=True):
    return judge(observed(canary, stable), canary="green", stable="blue", limits=LIMITS, bake_over=over)


@pytest.mark.parametrize(
    ("canary", "stable", "over", "decision"),
    [
        (GOOD, GOOD, True, "promote"),
        (GOOD, GOOD, False, "continue"),
        (None, GOOD, False, "continue"),
        (None, GOOD, True, "hold"),
        (None, None, True, "hold"),
        (served(0, 0), GOOD, True, "hold"),
        (served(50, 0, 20, 100, 150), GOOD, True, "hold"),
        (served(50, 25, 20, 100, 150), GOOD, True, "rollback"),
        (served(1000, 60, 20, 100, 150), GOOD, False, "rollback"),
        (served(1000, 15, 20, 100, 150), served(90000, 90, 20, 100, 150), False, "rollback"),
        (served(1000, 1, 20, 501, 600), served(1000, 1, 20, 400, 500), True, "rollback"),
        (served(1000, 1, 20, 151, 600), GOOD, True, "rollback"),
        (served(1000, 1, 20, 149, 600), GOOD, True, "promote"),
        (served(120, 3, 20, 100, 150), None, True, "hold"),
        (served(1000, 1, None, None, None), GOOD, True, "hold"),
        (GOOD, None, True, "promote"),
    ],
)
def test_decisions(canary, stable, over, decision):
    """One row of the decision table."""
    assert decide(canary, stable, over=over).decision == decision


def test_a_failure_outweighs_what_is_not_known():
    """Too few requests to promote are enough to roll back when nearly all of them fail."""
    verdict = decide(served(30, 29, 20, 100, 150), over=False)
    assert {m.result for m in verdict.measurements} == {CriterionResult.FAIL, CriterionResult.INCONCLUSIVE}
    assert verdict.decision == "rollback"
    assert "29 of 30" in verdict.reason


def test_a_slow_handful_is_no_verdict():
    """The p95 of a few requests decides nothing."""
    assert decide(served(20, 0, 20, 5000, 6000), over=False).decision == "continue"


def test_a_shared_incident_is_not_the_canarys_fault_against_stable():
    """Where stable fails as much, the comparison passes; only the absolute limit counts."""
    verdict = decide(served(1000, 80, 20, 100, 150), served(9000, 720, 20, 100, 150))
    results = {m.criterion: m.result for m in verdict.measurements}
    assert results["failure rate against before"] is CriterionResult.PASS
    assert results["failure rate"] is CriterionResult.FAIL


@pytest.mark.parametrize(
    ("failures", "requests", "low", "high"),
    [(81, 263, 0.2553, 0.3662), (15, 148, 0.0624, 0.1605), (0, 20, 0.0, 0.1611), (1, 29, 0.0061, 0.1718)],
)
def test_wilson_interval_is_the_published_one(failures, requests, low, high):
    """Source: Newcombe (1998), Stat. Med. 17:857-872, table I, method 3 (score, 95 %)."""
    interval: object = wilson_interval(failures, requests, 0.95)
    assert interval == (
        pytest.approx(low, abs=5e-5),
        pytest.approx(high, abs=5e-5),
    )


@pytest.mark.parametrize(("failures", "requests"), [(0, 0), (0, 1), (1, 1), (0, 10**9), (10**9, 10**9)])
def test_wilson_interval_at_the_edges(failures, requests):
    """Bounds stay within 0 and 1 and in order."""
    low, high = wilson_interval(failures, requests)
    assert 0 <= low <= high <= 1
