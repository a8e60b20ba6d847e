"""Latency as counts: how many requests of each version are slower than the past quantiles of stable.

Thresholds come from the past, so that they cannot depend on the interval that they judge. The canary is counted at
thresholds stretched by the tolerated slowdown: a canary that is slower by less than that falls into no worse classes
than stable does, and the exact table test of `tables` applies to all bins at once.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opslib.judge.criteria import Latency
from opslib.judge.interval import Arm

Floats = NDArray[np.float64]


def thresholds_ms(metric: Latency, reference_ms: Sequence[float]) -> tuple[float, ...]:
    """List every latency at which both versions must be counted.

    Parameters
    ----------
    metric
        What is judged.
    reference_ms
        Past latencies of stable at `metric.quantiles` [ms].

    Returns
    -------
    thresholds
        Rising, without repeats [ms].
    """
    stretches = {(q, 1.0 + metric.tolerated_slowdown) for q in metric.quantiles}
    stretches |= {(q, 1.0) for q in metric.quantiles} | {(q, 1.0 + slow) for q, slow in metric.proofs}
    at = dict(zip(metric.quantiles, reference_ms, strict=True))
    return tuple(sorted({stretched(at[q], stretch) for q, stretch in stretches}))


def stretched(latency_ms: float, stretch: float) -> float:
    """Multiply a threshold, rounded to a microsecond so that a query and the judge name the same number [ms]."""
    return round(latency_ms * stretch, 3)


def count_above(arm: Arm, threshold_ms: float) -> int | None:
    """Count the requests slower than a threshold.

    Exact from samples or from counts at this threshold; from percentiles the count is bracketed exactly by the
    neighbouring percentiles and interpolated between them (log-latency against normal scores). None if the arm says
    nothing about this threshold: unknown is not zero.
    """
    if arm.latency_n == 0:
        return 0
    if arm.samples_ms:
        return int(np.count_nonzero(np.asarray(arm.samples_ms) > threshold_ms))
    if arm.above:
        return dict(arm.above).get(threshold_ms)
    if arm.percentiles_ms:
        return round(interpolated_above(arm.percentiles_ms, arm.latency_n, threshold_ms))
    return None


def bracket_above(percentiles_ms: Sequence[tuple[float, float]], n: int, threshold_ms: float) -> tuple[int, int]:
    """Bound the requests slower than a threshold by the percentiles around it.

    The q-percentile of n requests is taken for the ceil(q n)-th smallest: if it is at or below the threshold at most
    n - ceil(q n) requests are above; if it is above the threshold at least n - ceil(q n) + 1 are.
    """
    low, high = 0, n
    for q, latency in percentiles_ms:
        rank = max(1, int(np.ceil(q * n - 1e-9)))
        if latency <= threshold_ms:
            high = min(high, n - rank)
        else:
            low = max(low, n - rank + 1)
    return low, max(low, high)


def interpolated_above(percentiles_ms: Sequence[tuple[float, float]], n: int, threshold_ms: float) -> float:
    """Estimate the requests slower than a threshold, within `bracket_above` [count].

    Normal scores are linear in log-latency for log-normal latencies; near a reported percentile the estimate is first
    order exact for any smooth law (Bahadur 1966, Ann. Math. Stat. 37:577-580). What bias is left is alike in both arms.
    """
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - importing the judge costs no more than numpy

    low, high = bracket_above(percentiles_ms, n, threshold_ms)
    score = ndtri(np.array([q for q, _ in percentiles_ms]))
    place = np.log(np.maximum([latency for _, latency in percentiles_ms], 1e-9))
    here = np.log(threshold_ms)
    i = int(np.clip(np.searchsorted(place, here) - 1, 0, place.size - 2))
    width = place[i + 1] - place[i]
    if width <= 0:
        return float((low + high) / 2)
    z = score[i] + (here - place[i]) * (score[i + 1] - score[i]) / width
    return float(np.clip(n * ndtr(-z), low, high))


def bins(arm: Arm, cuts_ms: Sequence[float]) -> Floats | None:
    """Count requests between thresholds, fastest first; shape (cuts + 1,) [count]. None if a cut was not counted."""
    above = [count_above(arm, cut) for cut in cuts_ms]
    if any(count is None for count in above):
        return None
    falling = np.minimum.accumulate([float(arm.latency_n), *(float(count or 0) for count in above), 0.0])
    return np.asarray(-np.diff(falling))


def log_tilts(metric: Latency, share_above: Sequence[float] | Floats) -> Floats:
    """Turn each alternative into log odds per bin.

    Parameters
    ----------
    metric
        What is bet on.
    share_above
        Past share of stable's requests above each cut, falling; shape (..., cuts) [fraction].

    Returns
    -------
    log_tilts
        shape (..., alternatives, cuts + 1), non-decreasing along bins.

    Notes
    -----
    A shift of d standard deviations in normal scores multiplies the mass of bin (a, b) by
    (Phi(b - d) - Phi(a - d)) / (Phi(b) - Phi(a)): exact for a slowdown by a factor when log-latency is normal, a rank
    alternative (Lehmann) otherwise. A tail alternative multiplies the odds of every bin beyond its quantile.
    """
    from scipy.special import ndtr, ndtri  # noqa: PLC0415

    share = np.clip(np.minimum.accumulate(np.asarray(share_above, dtype=np.float64), axis=-1), 1e-6, 1 - 1e-6)
    ends = np.full((*share.shape[:-1], 1), np.inf)
    edges = np.concatenate([-ends, -ndtri(share), ends], axis=-1)
    shift = np.asarray(metric.shifts)[:, None]
    moved = edges[..., None, :] - shift
    mass = np.maximum(np.diff(ndtr(edges), axis=-1), 1e-12)[..., None, :]
    shifted = np.log(np.maximum(np.diff(ndtr(moved), axis=-1), 1e-12)) - np.log(mass)
    shifted = np.maximum.accumulate(np.clip(shifted, -8.0, 8.0), axis=-1)
    tail = np.zeros((len(metric.tails), share.shape[-1] + 1))
    for row, (quantile, odds) in enumerate(metric.tails):
        tail[row, metric.quantiles.index(quantile) + 1 :] = np.log(odds)
    return np.concatenate([shifted, np.broadcast_to(tail, (*share.shape[:-1], *tail.shape))], axis=-2)


def learn_reference(metric: Latency, arm: Arm, least: int = 200) -> tuple[float, ...]:
    """Take stable's quantiles from one interval, for the intervals after it; empty if it holds too little [ms]."""
    if arm.latency_n < least:
        return ()
    if arm.samples_ms:
        return tuple(float(v) for v in np.quantile(arm.samples_ms, metric.quantiles, method="inverted_cdf"))
    known = dict(arm.percentiles_ms)
    if set(metric.quantiles) <= set(known):
        return tuple(float(known[q]) for q in metric.quantiles)
    return ()
