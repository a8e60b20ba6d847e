"""Latency from percentiles alone, exactly: where the canary's percentile falls among those of stable.

Nothing is interpolated and nothing assumed but that latencies are continuous and requests are routed at random.
It needs more time than counts do, as the strongest result of an interval is "above all four of stable's
percentiles", and it is the only way where the latencies have a gap.
"""

from dataclasses import replace
from functools import lru_cache

import numpy as np
from numpy.typing import ArrayLike, NDArray

from opslib.judge.values.interval import Interval
from opslib.judge.values.metrics import Ranks
from opslib.judge.values.noninferiority import Tally, p_odds

Floats = NDArray[np.float64]
Rank = tuple[bool, float, float]  # higher, its chance at the limit, its chance if equal

_NODES = 64  # of the quadrature over where stable's percentile lies
# Share of intervals in which a percentile may leave its place before ranks are no evidence of a slowdown.
_UNSTEADY = 0.1


def log_e_value(metric: Ranks, interval: Interval) -> Floats | None:
    """Return the log e-values of one interval by how many of stable's percentiles lie below the canary's.

    Returns
    -------
    log_e
        Under each of `metric.odds`; shape (odds,). None without percentiles of both versions.

    Notes
    -----
    If the versions do not differ, the number of the canary's n requests below stable's j-th smallest of m is
    beta-binomial (n; j, m + 1 - j) whatever the law of the latencies is, so that the canary's k-th smallest lies
    above it with the probability that this number is below k. Under odds w of being slow, stable's j-th smallest
    has a Beta(j, m + 1 - j) share u of stable's requests below it and the canary a share 1 - w (1 - u) / (1 + (w
    - 1) (1 - u)). Making the ratios rise with the count keeps their mean at 1 or less for every canary that is no
    slower.
    """
    mine, other = dict(interval.canary.percentiles_ms), dict(interval.stable.percentiles_ms)
    n, m = interval.canary.latency_n, interval.stable.latency_n
    if metric.quantile not in mine or not other or n == 0 or m == 0:
        return None
    place = mine[metric.quantile] / (1.0 + metric.tolerated_slowdown)
    below = sum(latency < place for latency in other.values())
    levels = tuple(sorted(other))
    return np.array([_log_ratios(n, m, metric.quantile, levels, odds)[below] for odds in metric.odds])


@lru_cache(maxsize=1024)
def _log_ratios(n: int, m: int, quantile: float, levels: tuple[float, ...], odds: float) -> tuple[float, ...]:
    """Return the log e-value for each number of stable's percentiles below the canary's."""
    rank = max(1, int(np.ceil(quantile * n - 1e-9)))
    ranks = [max(1, int(np.ceil(level * m - 1e-9))) for level in levels]
    same = np.array([_above(n, m, rank, j) for j in ranks])
    worse = np.array([_above_if_worse(n, m, rank, j, odds) for j in ranks])
    return tuple(rank_log_e_values(same, worse).tolist())


def rank_log_e_values(same: Floats, worse: Floats) -> Floats:
    """Turn the chances that the canary's percentile is above each of stable's into log e-values.

    Parameters
    ----------
    same, worse
        If the versions do not differ, and under the alternative; shape (..., levels) [fraction].

    Returns
    -------
    log_e
        For each number of stable's percentiles below the canary's; shape (..., levels + 1).
    """
    ends = np.ones((*same.shape[:-1], 1))
    null, alternative = (
        -np.diff(np.minimum.accumulate(np.concatenate([ends, chances, 0.0 * ends], axis=-1), axis=-1))
        for chances in (same, worse)
    )
    ratio = np.where(null > 0, alternative / np.maximum(null, 1e-300), np.inf)
    rising = np.minimum.accumulate(ratio[..., ::-1], axis=-1)[..., ::-1]
    return np.asarray(np.log(np.clip(rising, 1e-12, 1e12)))


def _above(n: int, m: int, rank: int, j: int) -> float:
    """Return P(canary's rank-th smallest of n lies above stable's j-th smallest of m) without a difference."""
    from scipy.special import betaln  # noqa: PLC0415

    x = np.arange(rank)
    log_choose = -np.log(n + 1.0) - betaln(n - x + 1, x + 1)
    return float(min(1.0, np.exp(log_choose + betaln(x + j, n - x + m + 1 - j) - betaln(j, m + 1 - j)).sum()))


def _above_if_worse(n: int, m: int, rank: int, j: int, odds: float) -> float:
    return float(chance(np.array(n), np.array(m), np.array(rank), np.array(j), odds))


def chance(n: Floats, m: Floats, rank: Floats, j: Floats, odds: float) -> Floats:
    """Return P(canary's rank-th smallest of n lies above stable's j-th smallest of m) under odds of being slow.

    To 1e-5; too small by up to a tenth where it is below 1e-6.
    """
    from scipy.special import bdtr, betaincinv  # noqa: PLC0415

    at, weight = _nodes()
    places, where = np.unique(np.stack([m.ravel(), j.ravel()]), axis=1, return_inverse=True)
    size, order = places[..., None]
    share = betaincinv(order, size + 1 - order, (at + 1.0) / 2.0)[where.ravel()].reshape(*m.shape, _NODES)
    below = np.clip(1.0 - odds * (1.0 - share) / (1.0 + (odds - 1.0) * (1.0 - share)), 0.0, 1.0)
    return np.asarray(bdtr(rank[..., None] - 1.0, n[..., None].astype(np.int64), below) @ weight / 2.0)


@lru_cache(maxsize=1)
def _nodes() -> tuple[Floats, Floats]:
    return np.polynomial.legendre.leggauss(_NODES)


def chance_higher(n: ArrayLike, m: ArrayLike, quantile: float, odds: float) -> Floats:
    """Return the chance that the canary's percentile is above stable's in one interval.

    Parameters
    ----------
    n, m
        Timed requests of the canary and of stable; > 0; same shapes [count].
    quantile
        Level of both percentiles [fraction].
    odds
        Odds of being slow, canary over stable.

    Returns
    -------
    chance
        Whatever the law of the latencies is; the same shape [fraction].
    """
    mine, other = np.asarray(n, dtype=np.float64), np.asarray(m, dtype=np.float64)
    rank, j = (np.maximum(1.0, np.ceil(quantile * size - 1e-9)) for size in (mine, other))
    return chance(mine, other, rank, j, odds)


def compare(interval: Interval, quantile: float, limits: tuple[float, float]) -> tuple[Rank, Rank] | None:
    """Compare the two versions' percentiles, the canary's slowed by less than the limit and as it is.

    Parameters
    ----------
    interval, quantile
        What was served, and the level of the percentile.
    limits
        (slowdown, odds) that the proof must exclude.

    Returns
    -------
    scale, odds
        What `add_rank` takes; None without percentiles of both versions.
    """
    mine, other = dict(interval.canary.percentiles_ms), dict(interval.stable.percentiles_ms)
    n, m = interval.canary.latency_n, interval.stable.latency_n
    if quantile not in mine or quantile not in other or n == 0 or m == 0:
        return None
    slowdown, odds = limits
    equal, at_limit = (float(chance_higher(n, m, quantile, each)) for each in (1.0, odds))
    slowed = mine[quantile] / (1.0 + slowdown) > other[quantile]
    return (slowed, equal, equal), (mine[quantile] > other[quantile], at_limit, equal)


def unsteady(interval: Interval, quantile: float, slowdown: float, past_ms: float) -> bool:
    """Return whether either version's percentile is further than a slowdown from stable's first one."""
    reach = np.log1p(slowdown)
    values = (dict(arm.percentiles_ms)[quantile] for arm in (interval.canary, interval.stable))
    return any(abs(np.log(value / past_ms)) > reach for value in values)


def add_rank(tally: Tally, higher: bool, at_limit: float, if_equal: float) -> Tally:
    """Add one comparison of the two versions' percentiles to a tally that then counts intervals, not requests.

    `higher` is whether the canary's was the higher one, `at_limit` the chance of that for a canary at its limit and
    `if_equal` for one that does not differ.
    """
    return replace(
        tally,
        canary_n=tally.canary_n + 1.0,
        canary_bad=tally.canary_bad + 1.0 * higher,
        stable_n=tally.stable_n + 1.0,
        stable_bad=tally.stable_bad + if_equal,
        expected=tally.expected + at_limit,
        variance=tally.variance + at_limit * (1.0 - at_limit),
    )


def prove_ranks(scale: Tally, odds: Tally, unsteady: float) -> tuple[Floats, NDArray[np.bool_]]:
    """Test "slower by the limiting slowdown and at the limiting odds" by whose percentile is the higher one.

    Each interval is a coin whose chance at the limit is known and greater for anything worse, so that their sum has
    the law that `p_odds` gives. A percentile that jumps over a gap is no evidence of a slowdown: most of the time
    both versions' lie on the same side of it. `unsteady` counts the intervals in which either was further than the
    limiting slowdown from stable's past; if there are more than a few, only the odds are tested - at the limit at
    every latency on which stable's percentile falls.

    Returns
    -------
    p, by_scale
        p-value, and whether the slowdown (True) or the odds (False) gave it.
    """
    by_scale = np.asarray(unsteady) <= _UNSTEADY * np.asarray(scale.canary_n)
    return np.asarray(np.where(by_scale, p_odds(scale), p_odds(odds)), dtype=np.float64), by_scale
