"""Means of business measures: valid only asymptotically, and labelled so where their evidence is shown."""

import math

from opslib.judge.values.interval import Arm, Interval
from opslib.judge.values.metrics import Mean

LABEL = "asymptotic"


def difference(metric: Mean, interval: Interval) -> float | None:
    """Return how much worse the canary's mean was in one interval, less what is tolerated; None without data."""
    mine, other = _row(metric, interval.canary), _row(metric, interval.stable)
    if mine is None or other is None or mine[0] == 0 or other[0] == 0:
        return None
    drop = other[1] - mine[1] if metric.larger_is_better else mine[1] - other[1]
    return drop - metric.tolerated_drop


def add(sums: tuple[float, ...], value: float) -> tuple[float, float, float]:
    """Add an interval's difference to (count, sum, sum of squares)."""
    return sums[0] + 1.0, sums[1] + value, sums[2] + value * value


def log_evidence(metric: Mean, sums: tuple[float, ...], burn_in: int = 10) -> float:
    """Return the log evidence that the canary's mean is worse; 0 for fewer than `burn_in` intervals.

    Notes
    -----
    One-sided normal mixture (Robbins 1970, Ann. Math. Stat. 41:1397-1409) on the mean of between-interval
    differences with a plugged-in variance: 2 Phi(rho S / sqrt(1 + n rho^2)) exp(rho^2 S^2 / (2 (1 + n rho^2))) /
    sqrt(1 + n rho^2), S the sum of n differences in units of their standard deviation. This is what inverts to
    the one-sided asymptotic confidence sequence of Waudby-Smith, Arbour, Sinha, Kennedy & Ramdas (2024), Ann.
    Stat. 52:2613-2640.
    """
    n, total, squares = sums
    variance = squares / n - (total / n) ** 2 if n > 0 else 0.0
    if n < burn_in or variance <= 0:
        return 0.0
    scaled = total / math.sqrt(variance)
    rho2 = tuned_rho(metric.tuned_for_intervals) ** 2
    spread = 1.0 + n * rho2
    tail = math.log(max(1.0 + math.erf(math.sqrt(rho2 / (2.0 * spread)) * scaled), 1e-300))
    return tail + rho2 * scaled**2 / (2.0 * spread) - 0.5 * math.log(spread)


def tuned_rho(intervals: float, alpha: float = 0.05) -> float:
    """Return the mixture's scale that makes a one-sided bound tightest after this many observations.

    Source: Waudby-Smith et al. (2024), arXiv 2103.06476v7, eq. 161 at twice alpha:
    sqrt((-2 ln(2 alpha) + ln(-2 ln(2 alpha) + 1)) / n).
    """
    doubled = -2.0 * math.log(2.0 * alpha)
    return math.sqrt((doubled + math.log(doubled + 1.0)) / intervals)


def _row(metric: Mean, arm: Arm) -> tuple[int, float, float] | None:
    return next(((n, mean, variance) for name, n, mean, variance in arm.moments if name == metric.name), None)
