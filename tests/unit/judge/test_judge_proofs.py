"""The proof that promotion needs."""

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import scipy

from opslib.judge.harm.ranks import add_rank, chance_higher, prove_ranks
from opslib.judge.proof.upper_bounds import chance_upper, odds_upper, rate_upper
from opslib.judge.values.noninferiority import (
    Tally,
    _bates,
    add,
    limit_moments,
    p_odds,
    p_rate,
    prove_failures,
    prove_latency,
)


@pytest.mark.parametrize(
    ("n", "m", "bad", "odds"), [(60, 540, 1, 2.0), (60, 540, 9, 2.0), (600, 5400, 60, 1.5), (50, 50, 50, 1.0)]
)
def test_moments_equal_scipys(n, m, bad, odds):
    """Mean and variance of the canary's bad requests at the limit are scipy's where counts are small."""
    mean, variance = limit_moments(n, m, bad, odds)
    law = scipy.stats.nchypergeom_fisher(n + m, bad, n, odds)
    assert float(mean) == pytest.approx(law.mean(), rel=1e-9)
    assert float(variance) == pytest.approx(law.var(), rel=1e-6)


def test_moments_of_large_tables_are_close():
    """The large-table formulas differ from the exact moments by less than a part in a thousand."""
    law = scipy.stats.nchypergeom_fisher(20000, 3000, 2000, 1.5)
    mean, variance = limit_moments(2000, 18000, 3000, 1.5)
    assert float(mean) == pytest.approx(law.mean(), rel=1e-3)
    assert float(variance) == pytest.approx(law.var(), rel=5e-3)


@pytest.mark.parametrize(("canary_bad", "stable_bad"), [(0, 40), (5, 60), (12, 100)])
def test_one_interval_at_odds_one_is_fishers_test(canary_bad, stable_bad):
    """For a single interval and no margin the p-value is that of Fisher's exact test, to its third digit."""
    tally = add(Tally(), canary_bad, 600, stable_bad, 5400, 1.0)
    table = [[canary_bad, 600 - canary_bad], [stable_bad, 5400 - stable_bad]]
    exact = scipy.stats.fisher_exact(table, alternative="less").pvalue
    assert float(p_odds(tally)) == pytest.approx(exact, rel=0.02, abs=1e-4)


def test_sum_over_intervals_has_its_level():
    """At the limiting odds, over intervals of very different failure rates, at most 5 % pass at 5 %."""
    rng: Any = np.random.Generator(np.random.SFC64(3))
    tally = Tally()
    for rate in (0.001, 0.2, 0.01, 0.001, 0.05):
        share = 2 * rate / (1 + rate)
        mine, other = rng.binomial(60, share, 8000), rng.binomial(540, rate, 8000)
        tally = add(tally, mine, 60, other, 540, 2.0)
    assert np.mean(p_odds(tally) <= 0.05) <= 0.05


def test_rate_proof_splits_the_jump_of_the_count():
    """The level of the rate proof is the nominal one and not that of the next lower count."""
    rng: Any = np.random.Generator(np.random.SFC64(4))
    runs = 40000
    tally = Tally()
    for _ in range(30):
        bad = rng.binomial(60, 0.005, runs)
        tally = Tally(
            canary_n=tally.canary_n + 60,
            canary_bad=tally.canary_bad + bad,
            lateness=tally.lateness + bad * (tally.canary_n + 30),
        )
    passed = np.mean(p_rate(tally, 0.005) <= 0.05)
    assert passed == pytest.approx(0.05, abs=0.004)
    assert scipy.stats.binom(1800, 0.005).cdf(3) < 0.03
    assert scipy.stats.binom(1800, 0.005).cdf(4) > 0.05


def test_late_failures_weigh_more_than_early_ones():
    """Of two canaries with as many failures the one that failed towards the end is further from its proof."""
    early = Tally(canary_n=1800, canary_bad=4, lateness=4 * 300)
    late = Tally(canary_n=1800, canary_bad=4, lateness=4 * 1500)
    assert float(p_rate(early, 0.005)) < float(p_rate(late, 0.005))


@pytest.mark.parametrize("place", [0.4, 0.8, 0.9, 1.0, 1.1, 1.3, 2.0])
@pytest.mark.parametrize(("n", "m", "odds", "limit"), [(1800, 16200, 2.0, 0.005), (2000, 2000, 2.0, 0.02)])
def test_failure_proof_has_its_level_on_the_edge_of_the_null(n, m, odds, limit, place):
    """On the edge of exceeding both limits, beside nine tenths or half of the traffic, no more than the level pass.

    Enumerated over both versions' failures, and over the times of the canary's by their mean's law in 20 steps.
    """
    stable_rate = place * limit / (odds - (odds - 1) * limit)
    canary_rate = max(limit, odds * stable_rate / (1 + (odds - 1) * stable_rate))
    mine, other = (
        np.arange(
            int(scipy.stats.poisson(size * rate).ppf(1e-6)), int(scipy.stats.poisson(size * rate).ppf(1 - 1e-6)) + 1
        )
        for size, rate in ((n, canary_rate), (m, stable_rate))
    )
    grid, chances = np.linspace(0, 1, 1001), (np.arange(20) + 0.5) / 20
    means = np.array([np.interp(chances, _bates(grid, np.full(grid.shape, k)), grid) for k in np.maximum(mine, 1)])
    x: Any
    y: Any
    x, y = np.meshgrid(mine, other, indexing="ij", sparse=True)  # the canary's failures in rows, times before both
    tally = add(Tally(), x, n, y, m, odds)
    weight = scipy.stats.binom(n, canary_rate).pmf(x) * scipy.stats.binom(m, stable_rate).pmf(y) / chances.size
    p, _ = prove_failures(replace(tally, lateness=means.T[..., None] * x * n), odds, limit)
    assert p.shape == (chances.size, mine.size, other.size)
    for alpha in (0.05, 0.01):
        assert float((weight * (p <= alpha)).sum()) <= 1.03 * alpha


def test_failure_proof_uses_its_level_up():
    """Where stable is far below the limit, the proof is the most powerful one that its level allows."""
    n, limit, level = 1800, 0.005, 0.05
    law, last = scipy.stats.binom(n, limit), int(scipy.stats.binom(n, limit).ppf(level))
    split = (level - law.cdf(last - 1)) / law.pmf(last)
    best = scipy.stats.binom(n, 0.001).cdf(last - 1) + split * scipy.stats.binom(n, 0.001).pmf(last)
    rng: Any = np.random.Generator(np.random.SFC64(5))
    bad, stable_bad = rng.binomial(n, 0.001, 20000), rng.binomial(16200, 0.001, 20000)
    positions = np.array([rng.random(k).mean() if k else 0.0 for k in bad])
    tally = add(Tally(), bad, n, stable_bad, 16200, 2.0)
    tally = replace(tally, lateness=positions * bad * n)
    passed = np.mean(prove_failures(tally, 2.0, limit)[0] <= level)
    assert passed == pytest.approx(best, abs=0.004)


def test_gap_is_proven_by_odds():
    """Where no request lies between the threshold and its stretch, the proof goes by odds and can succeed."""
    scale = odds = Tally()
    for _ in range(30):
        scale = add(scale, 3, 60, 27, 540, 1.0)
        odds = add(odds, 3, 60, 27, 540, 1.5)
    p, by_scale = prove_latency(scale, odds, 30 * 27, 1.5)
    assert not by_scale
    assert float(p) < 0.05


@pytest.mark.parametrize(("n", "m", "quantile"), [(60, 540, 0.95), (7, 5000, 0.5), (600, 600, 0.99)])
def test_equal_versions_rank_by_the_hypergeometric_law(n, m, quantile):
    """The chance that the canary's percentile is the higher one follows from who comes first of all."""
    rank, j = int(np.ceil(quantile * n)), int(np.ceil(quantile * m))
    exact = scipy.stats.hypergeom(n + m, n, rank + j - 1).cdf(rank - 1)
    assert float(chance_higher(n, m, quantile, 1.0)) == pytest.approx(exact, abs=1e-4)


def test_rank_proof_holds_its_level_in_a_gap():
    """Percentiles between two modes, load and share of slow requests rising: at the limit 5 % pass, equals do."""
    rng: Any = np.random.Generator(np.random.SFC64(6))

    def percentile(n, slow, odds):
        rank = np.ceil(0.95 * n)
        beyond = 1 - rng.beta(rank, n + 1 - rank, 4000)  # share of its own version, then of stable
        beyond = beyond / (odds - (odds - 1) * beyond)
        return np.where(beyond < slow, 900.0, 100.0) - beyond

    for odds, least, most in ((1.5, 0.0, 0.05), (1.0, 0.8, 1.0)):
        scale = by_odds = Tally()
        unsteady: Any = np.zeros(4000)
        for minute in range(30):
            n, m, slow = 50 + minute, 450 + 9 * minute, 0.04 + 0.001 * minute
            mine, other = percentile(n, slow, odds), percentile(m, slow, 1.0)
            equal, at_limit = (float(chance_higher(n, m, 0.95, w)) for w in (1.0, 1.5))
            scale = add_rank(scale, mine / 1.2 > other, equal, equal)
            by_odds = add_rank(by_odds, mine > other, at_limit, equal)
            unsteady += (mine > 500) | (other > 500)
        p, by_scale = prove_ranks(scale, by_odds, unsteady)
        assert not by_scale.any()
        assert least <= np.mean(p <= 0.05) <= most


def test_no_data_proves_nothing():
    """Without requests every p-value is 1."""
    assert float(p_odds(Tally())) == 1.0
    assert float(p_rate(Tally(), 0.01)) == 1.0
    assert float(prove_failures(Tally(), 2.0, 0.01)[0]) == 1.0


@pytest.mark.parametrize(("bad", "n", "level"), [(0, 1917, 0.03), (3, 600, 0.05), (12, 400, 0.01), (40, 40, 0.05)])
def test_upper_bound_of_a_rate_is_clopper_and_pearsons_less_the_split_jump(bad, n, level):
    """With failures at the very end it is Clopper and Pearson's bound; earlier ones only lower it."""
    exact = float(scipy.stats.beta(bad + 1, n - bad).ppf(1 - level)) if bad < n else 1.0
    late, early = (rate_upper(Tally(canary_n=n, canary_bad=bad, lateness=at * bad * n), level) for at in (1, 0.3))
    assert late == pytest.approx(exact, abs=1e-9)
    assert early <= late
    assert early >= bad / n or bad == n


@pytest.mark.parametrize(
    ("canary", "stable"), [((2, 600), (40, 5400)), ((0, 60), (9, 540)), ((30, 900), (500, 9000))]
)
def test_upper_bound_of_odds_is_the_conditional_exact_one(canary, stable):
    """For one interval it is the odds ratio at which Fisher's non-central law gives the level (Cornfield 1956)."""
    tally = add(Tally(), canary[0], canary[1], stable[0], stable[1], 1.5)
    upper = odds_upper(tally, 1.5, 0.05)
    law = scipy.stats.nchypergeom_fisher(canary[1] + stable[1], canary[0] + stable[0], canary[1], upper)
    assert law.cdf(canary[0]) == pytest.approx(0.05, rel=0.06)


@pytest.mark.parametrize("level", [0.05, 0.03, 0.006])
def test_upper_bound_is_below_the_limit_exactly_if_the_proof_succeeds(level):
    """Over intervals of different rates and volumes the bound and the p-value never disagree."""
    rng = np.random.Generator(np.random.SFC64(7))
    agreed = set()
    for _ in range(40):
        tally, rates = Tally(), rng.uniform(0.001, 0.05, 4)
        for rate in rates:
            n = int(rng.integers(50, 400))
            tally = add(tally, rng.binomial(n, rate), n, rng.binomial(5 * n, rate), 5 * n, 1.5)
        tally = Tally(*(float(getattr(tally, name)) for name in Tally.__dataclass_fields__))
        for p, upper, limit in (
            (p_odds(tally), odds_upper(tally, 1.5, level), 1.5),
            (p_rate(tally, 0.03), rate_upper(tally, level), 0.03),
            (p_odds(tally), chance_upper(tally, level), tally.expected / tally.canary_n),
        ):
            assert (upper <= limit) == (float(p) <= level)
            agreed.add(upper <= limit)
    assert agreed == {True, False}


@pytest.mark.parametrize(("true_odds", "level"), [(1.0, 0.05), (1.5, 0.05), (2.5, 0.1)])
def test_upper_bound_of_odds_covers(true_odds, level):
    """In at least its confidence of the runs the bound is above the true odds ratio, over unlike intervals."""
    rng, covered = np.random.Generator(np.random.SFC64(8)), 0
    for _ in range(120):
        tally = Tally()
        for rate, n in ((0.01, 120), (0.05, 60), (0.02, 200)):
            share = true_odds * rate / (1 + (true_odds - 1) * rate)
            tally = add(tally, float(rng.binomial(n, share)), n, float(rng.binomial(9 * n, rate)), 9 * n, 1.5)
        upper = odds_upper(tally, 1.5, level)
        covered += upper is None or upper >= true_odds
    assert covered >= 120 * (1 - level) - 3 * np.sqrt(120 * level * (1 - level))


def test_without_data_there_is_no_upper_bound():
    """Nothing seen, nothing bad on stable to compare with, or a look beyond the plan: none, and not zero."""
    assert rate_upper(Tally(), 0.05) is None
    assert odds_upper(Tally(), 1.5, 0.05) is None
    assert odds_upper(add(Tally(), 3, 60, 0, 540, 1.5), 1.5, 0.05) is None
    assert chance_upper(Tally(), 0.05) is None
    assert rate_upper(Tally(canary_n=100.0), 0.0) is None
