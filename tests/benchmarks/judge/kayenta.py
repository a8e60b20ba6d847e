"""Kayenta's judge, NetflixACAJudge-v1.0: Mann-Whitney on points of time with a Hodges-Lehmann interval.

Written from what kayenta-mannwhitney and kayenta-judge do, on many runs at once.
"""

from __future__ import annotations

import numpy as np
import scipy

_TOLERANCE = 1e-4  # of its root finder
_EPSILON = np.finfo(float).eps


def mann_whitney_interval(experiment, control, confidence: float):
    """Interval and estimate of the shift of `experiment` against `control`; shapes (runs, points).

    The normal approximation with continuity correction, solved for the shift: its bounds are order statistics of
    all pairwise differences, its estimate their median. Where many differences are exactly zero, as with sparse
    failures, the bound lies at a jump, and on which side of it decides: there the root finder is followed.
    """
    m, n = experiment.shape[1], control.shape[1]
    differences = np.sort((experiment[:, :, None] - control[:, None, :]).reshape(len(experiment), -1), axis=1)
    ties = _tie_sum(experiment) + _tie_sum(control)
    sigma = np.sqrt(np.maximum(m * n / 12 * (m + n + 1 - ties / ((m + n) * (m + n - 1))), 0.0))
    z = -scipy.special.ndtri((1 - confidence) / 2)
    reach = np.ceil(m * n / 2 + 0.5 + z * sigma).astype(int)
    inside = reach <= m * n
    at = np.clip(reach, 1, m * n)[:, None]
    low = np.where(inside, np.take_along_axis(differences, m * n - at, axis=1)[:, 0], differences[:, 0])
    high = np.where(inside, np.take_along_axis(differences, at - 1, axis=1)[:, 0], differences[:, -1])
    estimate = np.median(differences, axis=1)
    pooled = _tie_sum(np.concatenate([experiment, control], axis=1)) < (m + n) ** 3 - (m + n)
    rows = np.flatnonzero((sigma > 0) & pooled & ((low == 0) | (high == 0)))
    if rows.size:
        arrays = experiment[rows], control[rows], differences[rows], sigma[rows]
        low[rows], high[rows] = (_bound(*arrays, quantile) for quantile in (z, -z))
        estimate[rows] = _root(*arrays, 0.0)
    return low, high, estimate, sigma


def _bound(experiment, control, differences, sigma, quantile):
    first, last = differences[:, 0], differences[:, -1]
    low, high = (_statistic_at_end(experiment, control, end, quantile) for end in (first, last))
    root = _root(experiment, control, differences, sigma, quantile)
    return np.where(low <= 0, first, np.where(high >= 0, last, root))


def _statistic_at_end(experiment, control, shift, quantile):
    """The statistic at a shift that makes points of both groups equal."""
    m, n = experiment.shape[1], control.shape[1]
    moved = experiment - shift[:, None]
    pairs = moved[:, :, None] - control[:, None, :]
    excess = (pairs > 0).sum(axis=(1, 2)) + 0.5 * (pairs == 0).sum(axis=(1, 2)) - m * n / 2
    ties = _tie_sum(np.concatenate([moved, control], axis=1))
    sigma = np.sqrt(np.maximum(m * n / 12 * (m + n + 1 - ties / ((m + n) * (m + n - 1))), 1e-300))
    return (excess - 0.5 * np.sign(excess)) / sigma - quantile


def _root(experiment, control, differences, sigma, quantile):
    """Brent's method (1973, Algorithms for Minimization without Derivatives, ch. 4) as R's `zeroin` has it."""
    size = differences.shape[1]

    def statistic(shift):
        shift = shift[:, None]
        excess = (differences > shift).sum(axis=1) + 0.5 * (differences == shift).sum(axis=1) - size / 2
        return (excess - 0.5 * np.sign(excess)) / sigma - quantile

    a, b = differences[:, 0].copy(), differences[:, -1].copy()
    fa, fb = (_statistic_at_end(experiment, control, end, quantile) for end in (a, b))
    done = (fa == 0) | (fb == 0)
    found = np.where(fa == 0, a, b)
    c, fc = a.copy(), fa.copy()
    for _ in range(200):
        previous = b - a
        swap = np.abs(fc) < np.abs(fb)
        a, b, c = np.where(swap, b, a), np.where(swap, c, b), np.where(swap, b, c)
        fa, fb, fc = np.where(swap, fb, fa), np.where(swap, fc, fb), np.where(swap, fb, fc)
        least = 2 * _EPSILON * np.abs(b) + _TOLERANCE / 2
        half = (c - b) / 2
        ends = ~done & ((np.abs(half) <= least) | (fb == 0))
        found, done = np.where(ends, b, found), done | ends
        if done.all():
            break
        step = _interpolated(a, b, c, (fa, fb, fc), previous, least, half)
        step = np.where(np.abs(step) < least, np.where(step > 0, least, -least), step)
        a, fa = b, fb
        b = b + step
        fb = statistic(b)
        same = (fb > 0) & (fc > 0) | (fb < 0) & (fc < 0)
        c, fc = np.where(same, a, c), np.where(same, fa, fc)
    return np.where(done, found, b)


def _interpolated(a, b, c, values, previous, least, half):
    """Secant or inverse quadratic step where it is safe, else half the bracket."""
    fa, fb, fc = (np.where(each == 0, 1e-300, each) for each in values)
    width = c - b
    linear = a == c
    p_linear, q_linear = width * fb / fa, 1.0 - fb / fa
    q, t1, t2 = fa / fc, fb / fc, fb / fa
    p = np.where(linear, p_linear, t2 * (width * q * (q - t1) - (b - a) * (t1 - 1.0)))
    q = np.where(linear, q_linear, (q - 1.0) * (t1 - 1.0) * (t2 - 1.0))
    q, p = np.where(p > 0, -q, q), np.abs(p)
    tried = (np.abs(previous) >= least) & (np.abs(fa) > np.abs(fb))
    safe = tried & (p < 0.75 * width * q - np.abs(least * q) / 2) & (p < np.abs(previous * q / 2))
    return np.where(safe, p / np.where(q == 0, 1.0, q), half)


def _tie_sum(values):
    ordered = np.sort(values, axis=1)
    total = np.zeros(len(values))
    run = np.ones(len(values))
    for j in range(1, values.shape[1] + 1):
        same = ordered[:, j] == ordered[:, j - 1] if j < values.shape[1] else np.zeros(len(values), dtype=bool)
        total += np.where(same, 0.0, run**3 - run)
        run = np.where(same, run + 1, 1.0)
    return total


def kayenta_classify(
    experiment, control, *, tolerance: float = 0.25, confidence: float = 0.98, direction="increase"
):
    """Label each run High, Low or Pass."""
    low, high, estimate, sigma = mann_whitney_interval(experiment, control, confidence)
    bound = tolerance * np.abs(estimate)
    same = (
        (np.sort(experiment, axis=1) == np.sort(control, axis=1)).all(axis=1)
        if (experiment.shape == control.shape)
        else np.zeros(len(experiment), dtype=bool)
    )
    able = ~same & (sigma > 0)
    up = able & (low > bound) & (direction in ("increase", "either"))
    down = able & (high < -bound) & (direction in ("decrease", "either"))
    return np.where(up, "High", np.where(down, "Low", "Pass"))
