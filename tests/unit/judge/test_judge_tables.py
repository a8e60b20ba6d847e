"""The building block: exact conditional e-values of one interval."""

import itertools
import math

import numpy as np
import pytest
import scipy

from opslib.judge.harm.tables import log_e_share, log_e_two_by_two, log_e_values, log_normaliser

TABLES = [
    (60, 540, 3, 4),
    (60, 540, 0, 1),
    (600, 5400, 30, 52),
    (7, 9, 7, 2),
    (1, 1, 1, 0),
    (5, 3000, 5, 3),
    (2000, 18000, 900, 8000),
]


@pytest.mark.parametrize(("canary_n", "stable_n", "canary_bad", "stable_bad"), TABLES)
@pytest.mark.parametrize(("odds", "tolerated"), [(2.0, 1.0), (12.0, 1.1), (1.3, 1.1), (0.5, 2.0)])
def test_ratio_equals_scipys(canary_n, stable_n, canary_bad, stable_bad, odds, tolerated):
    """The log likelihood ratio of a 2x2 table is the one of scipy's non-central hypergeometric law."""
    mine = log_e_two_by_two(canary_bad, canary_n, stable_bad, stable_n, [odds], tolerated)[0]
    law = (canary_n + stable_n, canary_bad + stable_bad, canary_n)
    theirs = scipy.stats.nchypergeom_fisher(*law, odds).logpmf(canary_bad) - scipy.stats.nchypergeom_fisher(
        *law, tolerated
    ).logpmf(canary_bad)
    if np.isfinite(theirs):
        assert mine == pytest.approx(theirs, abs=1e-7)
    else:  # scipy's probability underflows
        assert -2000 < mine < -500


@pytest.mark.parametrize(("true", "mean"), [(1.1, 1.0), (1.0, None), (0.5, None), (1.5, None)])
def test_mean_is_one_at_the_boundary_and_less_below(true, mean):
    """Over all outcomes the e-value averages exactly 1 at the tolerated odds, less below and more above."""
    canary_n, stable_n, bad = 20, 90, 12
    outcomes = np.arange(bad + 1)
    log_e = log_e_two_by_two(outcomes, canary_n, bad - outcomes, stable_n, [3.0], 1.1)[:, 0]
    average = float(
        np.sum(
            scipy.stats.nchypergeom_fisher(canary_n + stable_n, bad, canary_n, true).pmf(outcomes) * np.exp(log_e)
        )
    )
    if mean is not None:
        assert average == pytest.approx(1.0, abs=1e-10)
    else:
        assert (average < 1) == (true < 1.1)


def _draws(pooled, drawn):
    ranges = [range(min(count, drawn) + 1) for count in pooled]
    return [x for x in itertools.product(*ranges) if sum(x) == drawn]


def test_normaliser_equals_the_sum_over_all_draws():
    """With four classes the normaliser is the sum over every way to draw the canary's requests."""
    pooled, drawn, tilt = (5, 4, 3, 2), 6, np.array([0.0, 0.3, 0.8, 2.0])
    total = sum(
        math.prod(scipy.special.comb(n, k, exact=True) for n, k in zip(pooled, x, strict=True))
        * math.exp(float(np.dot(x, tilt)))
        for x in _draws(pooled, drawn)
    )
    assert float(log_normaliser(pooled, drawn, tilt)) == pytest.approx(math.log(total), abs=1e-12)


def test_grouped_mean_is_one_without_a_difference():
    """With ordered latency bins the e-value averages exactly 1 over random routing."""
    pooled, drawn, tilt = np.array([6, 5, 3, 2]), 6, np.array([[0.0, 0.2, 0.7, 1.5]])
    ways = [
        (x, math.prod(scipy.special.comb(int(n), k, exact=True) for n, k in zip(pooled, x, strict=True)))
        for x in _draws(pooled, drawn)
    ]
    total = sum(way for _, way in ways)
    mean = sum(way * math.exp(float(log_e_values(x, pooled - np.array(x), tilt)[0])) for x, way in ways) / total
    assert mean == pytest.approx(1.0, abs=1e-12)


def test_worse_classes_raise_the_grouped_e_value():
    """Moving one canary request to a worse class raises the e-value, so a better canary can only lower it."""
    stable, tilt = np.array([50, 30, 15, 5]), np.array([[-0.4, 0.0, 0.3, 1.1]])
    base = np.array([6, 3, 2, 1])
    for worse in ([-1, 1, 0, 0], [0, -1, 1, 0], [0, 0, -1, 1]):
        assert log_e_values(base + worse, stable, tilt)[0] > log_e_values(base, stable, tilt)[0]


@pytest.mark.parametrize(
    ("canary_bad", "canary_n", "stable_bad", "stable_n"),
    [(0, 0, 0, 0), (0, 0, 3, 500), (5, 50, 0, 0), (0, 60, 0, 540), (60, 60, 540, 540)],
)
def test_degenerate_tables_say_nothing(canary_bad, canary_n, stable_bad, stable_n):
    """No traffic on either side, nothing bad and everything bad are worth exactly nothing."""
    assert log_e_two_by_two(canary_bad, canary_n, stable_bad, stable_n, [2.0, 9.0], 1.1).tolist() == [
        0.0,
        0.0,
    ]


def test_millions_of_requests_stay_finite():
    """Ten million requests in an interval agree with the normal limit."""
    log_e = log_e_two_by_two(100_500, 10**6, 900_000, 9 * 10**6, [1.02, 3.0], 1.0)
    shift, variance = (
        math.log(1.02),
        100_050 * 0.9 * 0.9,
    )  # first order: log e = shift (k - E k) - shift^2 Var / 2
    assert log_e[0] == pytest.approx(shift * (100_500 - 100_050) - shift**2 * variance / 2, rel=0.05)
    assert np.isfinite(log_e).all()


def test_all_bad_canary_is_overwhelming():
    """A canary that fails everything while stable fails nothing gives evidence that stays finite."""
    log_e = log_e_two_by_two(1000, 1000, 0, 9000, [3.0, 6.0], 1.1)
    assert np.isfinite(log_e).all()
    assert (log_e > 100).all()


def test_share_is_a_binomial_ratio():
    """Against an absolute share the mean of the e-value is 1 at the allowed share and at most 1 below."""
    k = np.arange(41)
    e = np.exp(log_e_share(k, np.full(41, 40), [0.1, 0.3], 0.05))
    for true, mean in ((0.05, 1.0), (0.03, None)):
        averages = scipy.stats.binom(40, true).pmf(k) @ e
        assert np.all(averages <= 1 + 1e-12)
        if mean:
            assert averages == pytest.approx([1.0, 1.0], abs=1e-12)
