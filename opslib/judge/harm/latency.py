"""Latency as counts: how many requests of each version are slower than the past quantiles of stable.

Thresholds come from the past, so that they cannot depend on the interval that they judge. The canary is counted
at thresholds stretched by the tolerated slowdown: a canary that is slower by less than that falls into no worse
classes than stable does, and the exact table test of `tables` applies to all bins at once.
"""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from opslib.judge.harm.percentiles import in_gap, interpolated_above, scatter, untrusted
from opslib.judge.values.interval import Arm
from opslib.judge.values.metrics import Latency

Floats = NDArray[np.float64]

_SAME_MS = 1.5e-3  # thresholds are written to a microsecond; a query may round its last digit otherwise


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
    neighbouring percentiles and interpolated between them (log-latency against normal scores). None if the arm
    has no count at this threshold: unknown is not zero.
    """
    if arm.latency_n == 0:
        return 0
    if arm.samples_ms:
        return int(np.count_nonzero(arm.latencies_ms > threshold_ms))
    if arm.above:
        return next((count for cut, count in arm.above if abs(cut - threshold_ms) <= _SAME_MS), None)
    if arm.percentiles_ms:
        levels, latencies = zip(*arm.percentiles_ms, strict=True)
        return int(interpolated_above(levels, latencies, arm.latency_n, threshold_ms))
    return None


def counts_above(arm: Arm, cuts_ms: Sequence[float]) -> Floats | None:
    """Count the requests slower than each rising cut; shape (cuts,) [count]. None if one was not counted."""
    above = [count_above(arm, cut) for cut in cuts_ms]
    if any(count is None for count in above):
        return None
    return np.minimum.accumulate(np.array([float(count or 0) for count in above]))


def bins(n: int, above: Floats) -> Floats:
    """Count requests between cuts, fastest first; shape (cuts + 1,) [count]."""
    return np.asarray(-np.diff(np.concatenate([[float(n)], above, [0.0]])))


def distrusted(
    metric: Latency, reference_ms: Sequence[float], dispersion: Sequence[tuple[float, ...]]
) -> NDArray[np.bool_]:
    """Find the cuts at which interpolation is not trusted, from stable's past alone; shape (cuts,)."""
    gaps = in_gap(metric.quantiles, np.asarray(reference_ms))
    noisy = [bool(untrusted(*row[2:])) for row in dispersion]
    return gaps | np.array(noisy, dtype=bool) if noisy else gaps


def grown_dispersion(rows: Sequence[tuple[float, ...]], above: Floats, n: int) -> tuple[tuple[float, ...], ...]:
    """Add an interval of stable to what is known of how its shares scatter; see `percentiles.scatter`."""
    share = (above / max(n, 1)).tolist()
    if not rows:
        return tuple((each, each, 0.0, 0.0, -1.0) for each in share)
    grown = []
    for (before, last, squared, usual, steps), each in zip(rows, share, strict=True):
        more = scatter(before, last, each, n) if steps >= 0 else (0.0, 0.0)
        grown.append((last, each, squared + float(more[0]), usual + float(more[1]), steps + 1.0))
    return tuple(grown)


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
    A shift of d standard deviations in normal scores multiplies the mass of bin (a, b) by (Phi(b - d) - Phi(a -
    d)) / (Phi(b) - Phi(a)): exact for a slowdown by a factor when log-latency is normal, a rank alternative
    (Lehmann) otherwise. A tail alternative multiplies the odds of every bin beyond its quantile.
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


def learn_reference(metric: Latency, arm: Arm, least: int = 100) -> tuple[float, ...]:
    """Take stable's quantiles from one interval, for the intervals after it; empty if it holds too little [ms]."""
    if arm.latency_n < least:
        return ()
    known = dict(arm.percentiles_ms)
    if arm.samples_ms:
        found = np.quantile(arm.latencies_ms, metric.quantiles, method="inverted_cdf").tolist()
    elif set(metric.quantiles) <= set(known):
        found = [known[quantile] for quantile in metric.quantiles]
    else:
        return ()
    return tuple(stretched(float(each), 1.0) for each in found)
