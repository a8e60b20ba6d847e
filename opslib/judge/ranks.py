"""Latency from percentiles alone, exactly: where the canary's percentile falls among those of stable.

Nothing is interpolated and nothing assumed but that latencies are continuous and requests are routed at random.
It needs more time than counts do - an interval can say no more than "above all four of stable's percentiles" -
and it is what is left where the latencies have a gap.
"""

from __future__ import annotations

from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from opslib.judge.interval import Interval
from opslib.judge.metrics import Ranks

Floats = NDArray[np.float64]

_NODES = 400  # of the quadrature over where stable's percentile lies


def log_e(metric: Ranks, interval: Interval) -> Floats | None:
    """Weigh one interval by how many of stable's percentiles lie below the canary's.

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
    """Give the log e-value for each number of stable's percentiles below the canary's."""
    rank = max(1, int(np.ceil(quantile * n - 1e-9)))
    ranks = [max(1, int(np.ceil(level * m - 1e-9))) for level in levels]
    same = [1.0, *(_above(n, m, rank, j) for j in ranks), 0.0]
    worse = [1.0, *(_above_if_worse(n, m, rank, j, odds) for j in ranks), 0.0]
    null, alternative = -np.diff(np.minimum.accumulate(same)), -np.diff(np.minimum.accumulate(worse))
    ratio = np.where(null > 0, alternative / np.maximum(null, 1e-300), np.inf)
    rising = np.minimum.accumulate(ratio[::-1])[::-1]
    return tuple(np.log(np.clip(rising, 1e-12, 1e12)).tolist())


def _above(n: int, m: int, rank: int, j: int) -> float:
    """Give P(canary's rank-th smallest of n lies above stable's j-th smallest of m) without a difference."""
    from scipy.special import betaln  # noqa: PLC0415

    x = np.arange(rank)
    log_choose = -np.log(n + 1.0) - betaln(n - x + 1, x + 1)
    return float(min(1.0, np.exp(log_choose + betaln(x + j, n - x + m + 1 - j) - betaln(j, m + 1 - j)).sum()))


def _above_if_worse(n: int, m: int, rank: int, j: int, odds: float) -> float:
    from scipy.special import bdtr, betaincinv  # noqa: PLC0415

    share = betaincinv(j, m + 1 - j, (np.arange(_NODES) + 0.5) / _NODES)
    below = 1.0 - odds * (1.0 - share) / (1.0 + (odds - 1.0) * (1.0 - share))
    return float(bdtr(rank - 1.0, n, np.clip(below, 0.0, 1.0)).mean())
