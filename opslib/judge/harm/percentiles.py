"""Latency when only percentiles are published: exact brackets, interpolation, and a guard on it.

Azure Monitor gives P50, P90, P95 and P99 of each minute and a request count. They bracket the number of requests
above any threshold exactly; inside the bracket it is interpolated. Where a percentile sits in a gap of the
latencies the interpolated count jumps about far more than counts do; the guard sees that in stable's own past and
drops the cut.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# How many standard deviations more than a binomial count stable's share above a cut may scatter between intervals
# before it is dropped; squared second differences of n independent counts have a mean of deviation sqrt(35 / 9 n).
DISPERSION_SD = 4.0
DISPERSION_STEPS = 10  # before which chance alone scatters as much
# How much steeper than in the bulk log-latency may rise beside a cut; a Pareto tail of index 1.5 stays below.
GAP_SLOPE = 2.5


def bracket_above(
    levels: Sequence[float], latencies_ms: ArrayLike, n: ArrayLike, threshold_ms: ArrayLike
) -> tuple[Floats, Floats]:
    """Bound the requests slower than a threshold by the percentiles around it.

    Parameters
    ----------
    levels
        Levels of the percentiles, rising [fraction].
    latencies_ms
        Latency at each; shape (..., levels) [ms].
    n
        Requests; shape (...) [count].
    threshold_ms
        Threshold; shape (...) [ms].

    Returns
    -------
    low, high
        Fewest and most requests above it; shape (...) [count]. The q-percentile of n requests is taken for the
        ceil(q n)-th smallest: at or below the threshold at most n - ceil(q n) are above it, else at least one more.
    """
    size, cut = (
        np.asarray(n, dtype=np.float64)[..., None],
        np.asarray(threshold_ms, dtype=np.float64)[..., None],
    )
    beyond = size - np.maximum(np.ceil(np.asarray(levels) * size - 1e-9), 1.0)
    below = np.asarray(latencies_ms, dtype=np.float64) <= cut
    high = np.where(below, beyond, size).min(axis=-1)
    low = np.where(below, 0.0, beyond + 1.0).max(axis=-1)
    return np.minimum(low, size[..., 0]), np.maximum(high, low)


def interpolated_above(
    levels: Sequence[float], latencies_ms: ArrayLike, n: ArrayLike, threshold_ms: ArrayLike
) -> Floats:
    """Estimate the requests slower than a threshold, to a whole number within `bracket_above`.

    Normal scores are linear in log-latency for log-normal latencies; near a reported percentile the estimate is
    first order exact for any smooth law (Bahadur 1966, Ann. Math. Stat. 37:577-580). What bias is left is alike
    in both arms. Approximate: its validity is measured by simulation, not proved.
    """
    from scipy.special import ndtr, ndtri  # noqa: PLC0415 - importing the judge costs no more than numpy

    low, high = bracket_above(levels, latencies_ms, n, threshold_ms)
    place = np.log(np.maximum(np.asarray(latencies_ms, dtype=np.float64), 1e-9))
    here = np.log(np.asarray(threshold_ms, dtype=np.float64))
    here = np.broadcast_to(here, low.shape)
    place = np.broadcast_to(place, (*low.shape, len(levels)))
    score = ndtri(np.asarray(levels, dtype=np.float64))
    left = np.clip((place < here[..., None]).sum(axis=-1) - 1, 0, len(levels) - 2)[..., None]
    a, b = (np.take_along_axis(place, left + step, axis=-1)[..., 0] for step in (0, 1))
    width = np.maximum(b - a, 1e-9)
    z = score[left[..., 0]] + (here - a) * (score[left[..., 0] + 1] - score[left[..., 0]]) / width
    guess = np.rint(np.asarray(n, dtype=np.float64) * ndtr(-np.clip(z, -9.0, 9.0)))
    return np.asarray(np.clip(guess, low, high), dtype=np.float64)


def scatter(first: ArrayLike, second: ArrayLike, third: ArrayLike, n: ArrayLike) -> tuple[Floats, Floats]:
    """Return the squared second difference of a share over three intervals, and its mean for binomial counts.

    A share that drifts evenly, as when latencies rise in the morning, has none.
    """
    one, two, three = (np.asarray(each, dtype=np.float64) for each in (first, second, third))
    middle = (one + two + three) / 3.0
    usual = 6.0 * middle * (1.0 - middle) / np.maximum(np.asarray(n, dtype=np.float64), 1.0)
    return (three - 2.0 * two + one) ** 2, usual


def untrusted(squared: ArrayLike, usual: ArrayLike, steps: ArrayLike) -> NDArray[np.bool_]:
    """Find the cuts whose shares varied too much so far, by their mean squared second difference."""
    count = np.maximum(np.asarray(steps, dtype=np.float64), 1.0)
    most = 1.0 + DISPERSION_SD * np.sqrt(35.0 / (9.0 * count))
    wild = np.asarray(squared) > most * np.maximum(np.asarray(usual), 1e-300)
    return np.asarray(wild & (count >= DISPERSION_STEPS))


def log_e_rank_share(
    levels: Sequence[float],
    latencies_ms: ArrayLike,
    n: ArrayLike,
    threshold_ms: ArrayLike,
    shares: ArrayLike,
    allowed: float,
) -> Floats:
    """Return the log e-values of the published percentiles above a threshold, against an allowed slow share.

    Parameters
    ----------
    levels, latencies_ms, n, threshold_ms
        As in `bracket_above`.
    shares
        Shares of slow requests under the alternatives, above `allowed`; shape (alternatives,) [fraction].
    allowed
        Share at the edge of the null [fraction].

    Returns
    -------
    log_e
        shape (..., alternatives). The percentile of rank r is above the threshold exactly if at least n - r + 1
        requests are, so the probabilities of every possible answer are binomial and the e-value is exact: its
        expectation is at most 1 at `allowed` and below.
    """
    from scipy.special import bdtrc  # noqa: PLC0415

    size = np.asarray(n, dtype=np.float64)
    ranks = np.maximum(np.ceil(np.asarray(levels) * size[..., None] - 1e-9), 1.0)
    least = (size[..., None] - ranks)[..., ::-1]  # J >= 1 means: more than this many above, and so on
    seen = (np.asarray(latencies_ms, dtype=np.float64) > np.asarray(threshold_ms)[..., None]).sum(axis=-1)
    whole = size.astype(np.int64)[..., None]

    def chances(share: float) -> Floats:
        reached = np.where(whole > 0, bdtrc(least, np.maximum(whole, 1), share), 0.0)
        ends = np.ones((*reached.shape[:-1], 1))
        return np.asarray(-np.diff(np.concatenate([ends, reached, 0.0 * ends], axis=-1), axis=-1))

    null = np.maximum(chances(allowed), 1e-300)
    columns = []
    for share in np.atleast_1d(np.asarray(shares, dtype=np.float64)):
        ratio = np.where(null > 1e-290, chances(float(share)) / null, np.inf)
        rising = np.minimum.accumulate(ratio[..., ::-1], axis=-1)[..., ::-1]
        columns.append(np.take_along_axis(rising, seen[..., None], axis=-1)[..., 0])
    return np.asarray(np.log(np.clip(np.stack(columns, axis=-1), 1e-12, 1e12)), dtype=np.float64)


def in_gap(levels: Sequence[float], latencies_ms: ArrayLike) -> NDArray[np.bool_]:
    """Find the percentiles that lie beside a gap of the latencies, from stable's past.

    Parameters
    ----------
    levels
        Levels, rising, the first in the bulk [fraction].
    latencies_ms
        Latency at each; shape (..., levels) [ms].

    Returns
    -------
    gaps
        shape (..., levels): whether log-latency rises next to the percentile more than `GAP_SLOPE` times as
        steeply, per normal score, as between the first two levels. A log-normal latency rises evenly; between two
        modes it leaps.
    """
    from scipy.special import ndtri  # noqa: PLC0415

    place = np.log(np.maximum(np.asarray(latencies_ms, dtype=np.float64), 1e-9))
    slope = np.diff(place, axis=-1) / np.diff(ndtri(np.asarray(levels, dtype=np.float64)))
    steep = slope > GAP_SLOPE * np.maximum(slope[..., :1], 1e-6)
    none = np.zeros((*steep.shape[:-1], 1), dtype=bool)
    return np.asarray(np.concatenate([none, steep], axis=-1) | np.concatenate([steep, none], axis=-1))


def merge_untrusted(above: Floats, dropped: NDArray[np.bool_]) -> Floats:
    """Take a dropped cut's count for the next higher cut's, so that the bins on its two sides become one.

    Parameters
    ----------
    above
        Requests above each cut, falling; shape (..., cuts) [count].
    dropped
        Cuts not to be used; shape (..., cuts).
    """
    merged = np.array(above, dtype=np.float64)
    following = np.zeros(merged.shape[:-1])
    for cut in range(merged.shape[-1] - 1, -1, -1):
        merged[..., cut] = np.where(dropped[..., cut], following, merged[..., cut])
        following = merged[..., cut]
    return merged
