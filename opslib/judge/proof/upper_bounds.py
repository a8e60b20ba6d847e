"""Upper confidence bounds of what the proofs test: each inverts its own proof.

A bound is at most the limit exactly if its p-value is at most the level. Bounds of latency are shares of requests:
every proof counts requests above one stretched threshold, so no bound on the slowdown itself follows from the sums.
"""

import math
from collections.abc import Callable
from dataclasses import replace

from opslib.judge.values.noninferiority import Tally, limit_moments, p_odds, p_rate

_HALVINGS = 36  # of a range: an error below 1e-9 in the log of the odds, and less in a rate
_MOST_ODDS = 1e6


def rate_upper(tally: Tally, level: float) -> float | None:
    """Return the largest failure rate that `p_rate` does not exclude at a level; None without data [fraction]."""
    if tally.canary_n == 0 or level <= 0:
        return None
    return _crossing(lambda rate: float(p_rate(tally, rate)), level, 0.0, 1.0)


def odds_upper(tally: Tally, limit_odds: float, level: float) -> float | None:
    """Return the largest odds ratio that `p_odds` does not exclude at a level.

    Parameters
    ----------
    tally
        Sums of a 2x2 comparison at `limit_odds`.
    limit_odds
        Odds ratio at which the sums were made.
    level
        One minus the confidence; in (0, 1) [fraction].

    Returns
    -------
    odds
        None where the data exclude no odds ratio: without bad requests of stable, or without data.

    Notes
    -----
    The sums hold the mean and variance of the canary's bad requests at the limit only. At other odds both change
    as those of the one table that pools all intervals do: exact at the limit, and everywhere if the intervals are
    alike. The mean rises with the odds, so that the p-value falls and crosses the level once.
    """
    if tally.canary_n == 0 or tally.stable_n == 0 or tally.stable_bad == 0 or level <= 0:
        return None
    bad = tally.canary_bad + tally.stable_bad
    at_limit = [float(each) for each in limit_moments(tally.canary_n, tally.stable_n, bad, limit_odds)]
    if tally.expected <= 0 or min(at_limit) <= 0:
        return None

    def p(log_odds: float) -> float:
        moments = limit_moments(tally.canary_n, tally.stable_n, bad, math.exp(log_odds))
        mean, variance = (float(each) / limit for each, limit in zip(moments, at_limit, strict=True))
        return float(p_odds(replace(tally, expected=tally.expected * mean, variance=tally.variance * variance)))

    most = math.log(_MOST_ODDS)
    return None if p(most) > level else math.exp(_crossing(p, level, -most, most))


def share_upper(bad: int, n: int, level: float) -> float:
    """Return the largest share of bad requests that `bad` of `n` do not exclude at a level [fraction].

    Exact and one-sided: Clopper & Pearson 1934, Biometrika 26:404-413.

    >>> round(share_upper(0, 300, 0.05), 4)
    0.0099
    """
    from scipy.special import betaincinv  # noqa: PLC0415

    return 1.0 if bad >= n else float(betaincinv(bad + 1.0, n - bad, 1.0 - level))


def chance_upper(tally: Tally, level: float) -> float | None:
    """Return the largest mean chance of a bad interval that `p_odds` does not exclude [fraction].

    None without data. For proofs by rank, whose intervals are coins: the binomial that `p_odds` fits, with as many
    trials and another chance (Clopper & Pearson 1934, Biometrika 26:404-413).
    """
    from scipy.special import betaincinv, gammaincinv  # noqa: PLC0415

    if tally.canary_n == 0 or tally.expected <= 0 or level <= 0:
        return None
    chance = min(max(1.0 - tally.variance / tally.expected, 0.0), 1.0)
    if chance < 1e-6:
        return float(min(1.0, gammaincinv(tally.canary_bad + 1.0, 1.0 - level) / tally.canary_n))
    trials = tally.expected / chance
    if tally.canary_bad >= trials:
        return 1.0
    largest = float(betaincinv(tally.canary_bad + 1.0, trials - tally.canary_bad, 1.0 - level))
    return min(1.0, largest * trials / tally.canary_n)


def _crossing(p: Callable[[float], float], level: float, low: float, high: float) -> float:
    """Return where a falling p-value crosses a level, from above, to 2^-36 of the range.

    Bisection that interpolates the normal scores of the p-values, which are close to linear, takes a third of the
    steps and at most one more: Oliveira & Takahashi (2020), ACM Trans. Math. Softw. 47(1):5.
    """
    from scipy.special import ndtri  # noqa: PLC0415

    def score(value: float) -> float:
        return float(ndtri(min(max(value, 1e-300), 1.0 - 1e-16)) - ndtri(level))

    step = (high - low) / 2**_HALVINGS
    first, last = 0, 2**_HALVINGS  # in steps: the p-value is above the level at `first` and not at `last`
    reach = 2.0 * last
    above, below = score(1.0), score(0.0)
    while last - first > 1:
        middle, reach = (first + last) / 2.0, reach / 2.0
        secant = (above * last - below * first) / (above - below)
        inwards = min(0.2 * step * (last - first) ** 2, abs(middle - secant))  # a secant often stays on one side
        guess = secant + math.copysign(inwards, middle - secant)
        most = reach - (last - first) / 2.0
        at = round(min(max(guess, middle - most), middle + most))
        at = min(max(at, first + 1), last - 1)
        value = p(low + step * at)
        if value > level:
            first, above = at, max(score(value), 1e-12)
        else:
            last, below = at, min(score(value), -1e-12)
    return float(low + step * last)
