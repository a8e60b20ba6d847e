"""The tests behind a promotion: one planned look, at the end of a stage, at everything seen so far.

Not having found harm does not prove its absence. Each metric has a limit; a p-value is the probability of numbers
as good as these for a canary *at* its limit. Sums of a few moments per interval are enough for it.
"""

from dataclasses import dataclass, replace
from functools import lru_cache
from typing import cast

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Tally:
    """Sums over intervals of a 2x2 comparison at a limiting odds ratio. Fields may be arrays of runs.

    Attributes
    ----------
    canary_n, canary_bad, stable_n, stable_bad
        Requests and bad requests of each version [count].
    expected, variance
        Mean and variance of the canary's bad requests at the limit, given the pooled counts of each interval.
    lateness
        Sum over the canary's bad requests of the number of canary requests before them [count].
    """

    canary_n: float = 0.0
    canary_bad: float = 0.0
    stable_n: float = 0.0
    stable_bad: float = 0.0
    expected: float = 0.0
    variance: float = 0.0
    lateness: float = 0.0


def add(tally: Tally, canary_bad: float, canary_n: float, stable_bad: float, stable_n: float, odds: float) -> Tally:
    """Add one interval to a tally; arguments as in `Tally`, `odds` the limiting odds ratio."""
    # One run has floats, a simulation arrays of runs; both add alike.
    bad = np.add(canary_bad, stable_bad)
    if np.ndim(canary_n) == np.ndim(stable_n) == np.ndim(bad) == 0:
        moments = _moments_of_one(float(canary_n), float(stable_n), float(bad), odds)
    else:
        moments = limit_moments(canary_n, stable_n, bad, odds)
    mean, variance = (cast("float", each) for each in moments)
    return replace(
        tally,
        canary_n=tally.canary_n + canary_n,
        canary_bad=tally.canary_bad + canary_bad,
        stable_n=tally.stable_n + stable_n,
        stable_bad=tally.stable_bad + stable_bad,
        expected=tally.expected + mean,
        variance=tally.variance + variance,
        lateness=tally.lateness + canary_bad * (tally.canary_n + 0.5 * canary_n),
    )


def count(tally: Tally, canary: tuple[int, int], stable: tuple[int, int]) -> Tally:
    """Add (bad, all) requests of both versions to a tally that is only shown."""
    return replace(
        tally,
        canary_bad=tally.canary_bad + canary[0],
        canary_n=tally.canary_n + canary[1],
        stable_bad=tally.stable_bad + stable[0],
        stable_n=tally.stable_n + stable[1],
    )


def limit_moments(canary_n: ArrayLike, stable_n: ArrayLike, bad: ArrayLike, odds: float) -> tuple[Floats, Floats]:
    """Return the mean and variance of the canary's share of the bad requests under Fisher's non-central law.

    Parameters
    ----------
    canary_n, stable_n, bad
        Requests of each version and bad requests of both; same shapes [count].
    odds
        Odds ratio of the canary.

    Returns
    -------
    mean, variance
        Exact by summing the support where a count is small; else the mode equation of Cornfield (1956, Proc. 3rd
        Berkeley Symp. 4:135-148) and the variance of McCullagh & Nelder (1989, section 7.3), right to O(1/count).
    """
    arrays = np.broadcast_arrays(*(np.asarray(v, dtype=np.float64) for v in (canary_n, stable_n, bad)))
    n, m, k = (np.atleast_1d(each) for each in arrays)
    mean, variance = _large_moments(n, m, k, odds)
    small = variance < 25.0
    if small.any():
        mean[small], variance[small] = _exact_moments(n[small], m[small], k[small], odds)
    return mean.reshape(arrays[0].shape), variance.reshape(arrays[0].shape)


@lru_cache(maxsize=10_000)
def _moments_of_one(canary_n: float, stable_n: float, bad: float, odds: float) -> tuple[Floats, Floats]:
    """Remember `limit_moments`: the random splits of a rehearsal repeat the same small counts."""
    return limit_moments(canary_n, stable_n, bad, odds)


def _large_moments(n: Floats, m: Floats, k: Floats, odds: float) -> tuple[Floats, Floats]:
    a = odds - 1.0
    b = m - k + odds * (n + k)
    root = np.sqrt(np.maximum(b * b - 4.0 * a * odds * n * k, 0.0))
    mean = 2.0 * odds * n * k / np.maximum(b + root, 1e-12)
    cells = [np.maximum(cell, 1e-9) for cell in (mean, k - mean, n - mean, m - k + mean)]
    variance = 1.0 / sum(1.0 / cell for cell in cells)
    total = np.maximum(n + m, 2.0)
    return mean, np.asarray(variance * total / (total - 1.0), dtype=np.float64)


def _exact_moments(n: Floats, m: Floats, k: Floats, odds: float) -> tuple[Floats, Floats]:
    from scipy.special import gammaln  # noqa: PLC0415

    # Tails past 12 standard deviations (at most 60 counts here) of the mean carry nothing that a double can hold.
    middle = np.floor(_large_moments(n, m, k, odds)[0])
    low, high = np.maximum(0.0, k - m), np.minimum(n, k)
    first, last = np.maximum(low, middle - 130.0), np.minimum(high, middle + 130.0)
    x = first[..., None] + np.arange((last - first).max() + 1.0)  # few bad requests leave few states
    inside = x <= last[..., None]
    x = np.where(inside, x, low[..., None])
    logs = x * np.log(odds) - gammaln(x + 1) - gammaln(n[..., None] - x + 1)
    logs += -gammaln(k[..., None] - x + 1) - gammaln((m - k)[..., None] + x + 1)
    logs = np.where(inside, logs, -np.inf)
    p = np.exp(logs - logs.max(axis=-1, keepdims=True))
    p /= p.sum(axis=-1, keepdims=True)
    mean = (p * x).sum(axis=-1)
    return mean, (p * (x - mean[..., None]) ** 2).sum(axis=-1)


def p_odds(tally: Tally) -> Floats:
    """Return the probability of at most this many bad canary requests if its odds were at the limit.

    Each interval's count is a sum of independent Bernoullis (the generating function has real roots: Harper 1967,
    Ann. Math. Stat. 38:410-414); so is their sum, which a binomial of the same mean and variance fits closely.
    """
    from scipy.special import betainc, pdtr  # noqa: PLC0415

    mean = np.maximum(np.asarray(tally.expected, dtype=np.float64), 1e-12)
    ratio = np.clip(np.asarray(tally.variance) / mean, 1e-9, 1.0)
    trials = mean / np.maximum(1.0 - ratio, 1e-9)
    bad = np.asarray(tally.canary_bad, dtype=np.float64)
    binomial = betainc(np.maximum(trials - bad, 1e-9), bad + 1.0, ratio)
    p = np.where(ratio > 1.0 - 1e-6, pdtr(bad, mean), np.where(bad >= trials, 1.0, binomial))
    return np.asarray(np.where(np.asarray(tally.expected) > 0, p, 1.0), dtype=np.float64)


def p_rate(tally: Tally, limit_rate: float) -> Floats:
    """Return the probability of so few bad canary requests, or as many and so late, at the limiting rate.

    Counts jump; splitting the last jump by *when* the bad requests came makes the level exact, and sides against
    a canary that got worse towards the end. At a constant limiting rate, given their number, bad requests are
    uniform over the canary's requests, so their mean position is the mean of that many uniforms (Bates law). The
    level is exact for a constant rate; for a rate that falls during the stage it is at most that of the bare
    count.
    """
    from scipy.special import bdtr  # noqa: PLC0415

    bad = np.asarray(tally.canary_bad, dtype=np.float64)
    n = np.asarray(tally.canary_n, dtype=np.float64)
    upto = np.where(n > 0, bdtr(bad, np.maximum(n, 1.0).astype(np.int64), limit_rate), 1.0)
    below = np.where(bad > 0, bdtr(np.maximum(bad - 1, 0), np.maximum(n, 1.0).astype(np.int64), limit_rate), 0.0)
    position = np.asarray(tally.lateness) / np.maximum(bad * n, 1e-12)
    return np.asarray(below + (upto - below) * np.where(bad > 0, _bates(position, bad), 1.0), dtype=np.float64)


def _bates(position: Floats, count: Floats) -> Floats:
    """Return P(mean of `count` uniforms <= position): exact up to 12, normal beyond (error below 0.002 there)."""
    from scipy.special import binom, gamma, ndtr  # noqa: PLC0415

    many = np.maximum(count, 1.0)
    total = np.clip(position, 0.0, 1.0) * many
    smooth = ndtr((np.clip(position, 0.0, 1.0) - 0.5) * np.sqrt(12.0 * many))
    exact = np.zeros_like(total)
    few = np.minimum(many, 12.0)
    for k in range(12):
        exact += np.where(k <= total, (-1.0) ** k * binom(few, k) * np.maximum(total - k, 0.0) ** few, 0.0)
    return np.asarray(np.where(many <= 12, exact / gamma(few + 1.0), smooth), dtype=np.float64)


# Stable's failures decide which limit binds. This many standard deviations off, they mislead with a probability
# below the one beside.
_SLACK_SD, _MISLED = 3.3, 0.0005


def prove_failures(tally: Tally, limit_odds: float, limit_rate: float) -> tuple[Floats, Floats]:
    """Test "at least `limit_odds` times stable's odds and at least `limit_rate`" after all intervals.

    A canary that is better than either limit is not in that null, so either limit may be disproved. Stable's
    failures alone decide which one is tried: only the rate where stable is far below it, only the odds where stable
    is far above, both in between, each at a share of the level that grows as the other's shrinks.

    Returns
    -------
    p, by_rate
        p-value, and whether the rate (True) or the odds (False) gave it.

    Notes
    -----
    Whatever stable's failures are, the canary's are independent of them, so that the rate's level needs no
    correction where the rate is tried alone; the odds pay for stable's misleading. At the corner, where the limits
    coincide, the tests correlate by 1 / sqrt(1 + c), c = `limit_odds` times the canary's requests over stable's,
    and a pair keeps its level if each has the share 1 - (c / (1 + c))^0.3 / 2 of it: fitted to the bivariate normal
    law, where 1/2 (no correlation) and 1 (the same test) are exact. The tests enumerate it all.
    """
    level = level_shares(tally, limit_odds, limit_rate)
    rate, odds = p_rate(tally, limit_rate) / level.rate, p_odds(tally) / level.odds
    p = np.minimum(rate, odds) + level.misled
    return np.asarray(np.minimum(p, 1.0), dtype=np.float64), np.asarray(rate <= odds)


@dataclass(frozen=True)
class LevelShares:
    """Shares of the level at which rate and odds are tried, and what stable's misleading costs [fraction]."""

    rate: Floats
    odds: Floats
    misled: Floats


def level_shares(tally: Tally, limit_odds: float, limit_rate: float) -> LevelShares:
    """Divide the level of the failure proof between rate and odds, by stable's failures alone."""
    n = np.maximum(np.asarray(tally.stable_n, dtype=np.float64), 1.0)
    share = np.asarray(tally.stable_bad, dtype=np.float64) / n
    margin = share_at_odds(np.asarray(limit_rate), 1.0 / limit_odds) - share
    off = np.clip(margin / (_SLACK_SD * np.sqrt((share * (1 - share) + 2.0 / n) / n)), -1.0, 1.0)
    off = np.where(np.asarray(tally.stable_n) > 0, off, 1.0)
    apart = limit_odds * np.asarray(tally.canary_n, dtype=np.float64) / n
    both = 1.0 - 0.5 * (apart / (1.0 + apart)) ** 0.3
    towards, away = both + (1.0 - both) * off**2, both * (1.0 - off**2)
    return LevelShares(
        rate=np.maximum(np.where(off > 0, towards, away), 1e-12),
        odds=np.maximum(np.where(off > 0, away, towards), 1e-12),
        misled=np.asarray(np.where(off < 1.0, _MISLED, 0.0), dtype=np.float64),
    )


def prove_latency(scale: Tally, odds: Tally, stable_far: float, limit_odds: float) -> tuple[Floats, Floats]:
    """Test "slower by the limiting slowdown and at the limiting odds" at one quantile.

    `scale` counts the canary above the stretched threshold against stable above the threshold itself, at odds 1;
    `odds` counts both above the threshold, at `limit_odds`. The one with more power is chosen by stable's
    requests alone: above the threshold, and above the stretched one (`stable_far`). In a gap between two modes
    those are equal and only the odds can show anything.

    Returns
    -------
    p, by_scale
        p-value, and whether the slowdown (True) or the odds (False) gave it.
    """
    n = np.maximum(np.asarray(scale.stable_n, dtype=np.float64), 1.0)
    near, far = (
        np.clip(np.asarray(bad, dtype=np.float64) / n, 1e-9, 1 - 1e-9) for bad in (scale.stable_bad, stable_far)
    )
    limit = share_at_odds(near, limit_odds)
    by_scale = (near - far) / np.sqrt(near * (1 - near)) >= (limit - near) / np.sqrt(limit * (1 - limit))
    return np.asarray(np.where(by_scale, p_odds(scale), p_odds(odds)), dtype=np.float64), np.asarray(by_scale)


def share_at_odds(share: ArrayLike, odds: float) -> Floats:
    """Return the share whose odds are `odds` times those of a share [fraction]."""
    share = np.asarray(share, dtype=np.float64)
    return np.asarray(odds * share / (1.0 + (odds - 1.0) * share), dtype=np.float64)
