"""Exact conditional e-values of one interval: how the canary's requests fell into ordered classes.

The router sends each request to one of two versions at random. If the version does not matter, then - given how
many requests each version got and how many requests of both together fell into each class (failed or not, or
latency bins) - the canary's requests are a simple random sample of all of them, *whatever* the interval was like:
drift, bursts and shared incidents cancel. Everything here is a likelihood ratio under that conditional law.

Two classes give Fisher's non-central hypergeometric ratio; more give its grouped (multivariate) form. Both need the
normaliser of a tilted sampling law, computed here to rounding error at a cost that does not grow with traffic.
"""

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

# Half the nodes of the Fourier inversion, and the lattice period in standard deviations. Wrapped-around mass sits
# 15 standard deviations (at least 48 counts) from the mode and cut-off frequencies beyond 10 of their own, so that
# either error is below 1e-13.
_NODES = 24
_PERIOD_SD = 15.0
_NEWTON_STEPS = 12
_NEWTON_CLOSE = 1e-8  # of the last step: the error after it is of the order of its square


def log_normaliser(pooled: ArrayLike, drawn: ArrayLike, log_tilt: ArrayLike) -> Floats:
    """Sum the tilted weights of all ways to draw the canary's requests out of the pooled ones.

    Parameters
    ----------
    pooled
        Requests of both versions in each class; shape (..., classes) [count].
    drawn
        Requests that the canary got; 0 <= drawn <= sum of `pooled`; shape (...) [count].
    log_tilt
        Log odds by which the canary favours each class; shape (..., classes), broadcast against `pooled`.

    Returns
    -------
    log_sum
        ln of sum over x with sum(x) = drawn of prod_j C(pooled_j, x_j) exp(log_tilt_j x_j); shape (...).

    Notes
    -----
    The sum is the coefficient of z^drawn in prod_j (1 + z e^tilt_j)^pooled_j. For any real h it equals
    prod_j (1 + e^(h + tilt_j))^pooled_j e^(-h drawn) P(S = drawn), S a sum of independent binomials with
    probabilities sigmoid(h + tilt_j). Choosing h so that E[S] = drawn puts the point at the mode, where the Fourier
    inversion of P(S = drawn) is exact to rounding with a few dozen nodes (exponential tilting: Daniels 1954, Ann.
    Math. Stat. 25:631-650; lattice inversion: Abate & Whitt 1992, Queueing Syst. 10:5-88).
    """
    counts, tilt = np.broadcast_arrays(np.asarray(pooled, dtype=np.float64), np.asarray(log_tilt, dtype=np.float64))
    total = counts.sum(axis=-1)
    taken = np.broadcast_to(np.asarray(drawn, dtype=np.float64), total.shape)
    # With everything or nothing drawn the mean cannot be matched by a finite h; any h is exact, half a count is
    # near.
    target = np.clip(taken, np.minimum(0.5, total / 2), np.maximum(total - 0.5, total / 2))
    shift = _matching_shift(counts, tilt, target)
    odds_log = shift[..., None] + tilt
    share = 1.0 / (1.0 + np.exp(-np.clip(odds_log, -700, 700)))
    mass = _probability_at(counts, share, taken)
    log_sum = (counts * np.logaddexp(0.0, odds_log)).sum(axis=-1) - shift * taken + np.log(mass)
    return np.asarray(np.where(total > 0, log_sum, 0.0), dtype=np.float64)


def _matching_shift(counts: Floats, tilt: Floats, target: Floats) -> Floats:
    """Find h with sum_j counts_j sigmoid(h + tilt_j) = target by Newton steps kept inside a bracket."""
    total = np.maximum(counts.sum(axis=-1), 1.0)
    base = np.log(np.maximum(target, 1e-9)) - np.log(np.maximum(total - target, 1e-9))
    low, high = base - tilt.max(axis=-1), base - tilt.min(axis=-1)
    shift = base - (counts * tilt).sum(axis=-1) / total
    for _ in range(_NEWTON_STEPS):
        share = 1.0 / (1.0 + np.exp(-(shift[..., None] + tilt)))
        gap = np.vecdot(counts, share) - target
        slope = np.maximum(np.vecdot(counts, share * (1.0 - share)), 1e-12)
        low, high = np.where(gap < 0, shift, low), np.where(gap > 0, shift, high)
        step = shift - gap / slope
        before = shift
        shift = np.where((step > low) & (step < high), step, np.where(gap == 0, shift, (low + high) / 2))
        if (np.abs(shift - before) < _NEWTON_CLOSE).all():
            break
    return np.asarray(shift, dtype=np.float64)


def _probability_at(counts: Floats, share: Floats, value: Floats) -> Floats:
    """Return P(S = value) for S a sum of independent Binomial(counts_j, share_j), by lattice inversion."""
    spread = share * (1.0 - share)
    deviation = np.sqrt((counts * spread).sum(axis=-1))
    period = np.maximum(2.0 * _NODES, _PERIOD_SD * deviation)
    angle = 2.0 * np.pi * np.arange(_NODES + 1) / period[..., None]
    cosine, sine = np.cos(angle), np.sin(angle)
    log_size = np.zeros_like(angle)
    phase = -angle * value[..., None]
    for j in range(counts.shape[-1]):  # classes are few; looping keeps memory at one (..., nodes) block
        number, p = counts[..., j, None], share[..., j, None]
        log_size += number * np.log(np.maximum(1.0 - 2.0 * spread[..., j, None] * (1.0 - cosine), 1e-300))
        phase += number * np.arctan2(p * sine, 1.0 - p + p * cosine)
    terms = np.exp(0.5 * log_size) * np.cos(phase)
    # The last node is the half frequency when the period is the shortest one; it then counts once, like the first.
    closing = np.where(period <= 2.0 * _NODES, 0.5, 1.0)
    whole = terms[..., 0] + 2.0 * terms[..., 1:-1].sum(axis=-1) + 2.0 * closing * terms[..., -1]
    return np.asarray(np.maximum(whole / period, 1e-300), dtype=np.float64)


def log_e_values(canary: ArrayLike, stable: ArrayLike, log_tilts: ArrayLike, log_null: ArrayLike = 0.0) -> Floats:
    """Return the log e-values of one interval: log likelihood ratios of each alternative against the null.

    Parameters
    ----------
    canary, stable
        Requests of each version in each class, classes ordered from good to bad; shape (..., classes) [count].
    log_tilts
        Log odds of each class under the alternatives, relative to the stable version; shape (alternatives, classes)
        or (..., alternatives, classes). Non-decreasing along classes for "the canary is worse".
    log_null
        Log odds of each class at the edge of what is tolerated; scalar 0 (no difference) or shape (classes,).

    Returns
    -------
    log_e
        Log e-values; shape (..., alternatives). 0 where either version had no request or all fell into one class.

    Notes
    -----
    Given the pooled class counts, the expectation of exp(log_e) is exactly 1 at the null. It is at most 1 when the
    canary is better than that: with `log_null` 0 an e-value rises when any canary request moves to a worse class
    (its normaliser is affine in that request's weight), and so for every canary that is stochastically no worse;
    with two classes for every odds ratio up to the null, because the law has a monotone likelihood ratio.
    Source for two classes: Fisher's non-central hypergeometric law; Turner, Ly & Gruenwald (2024), J. Stat. Plan.
    Inference 230, and Lindon & Malek (2022), NeurIPS, use the same conditioning.
    """
    mine = np.asarray(canary, dtype=np.float64)
    both = mine + np.asarray(stable, dtype=np.float64)
    tilts = np.asarray(log_tilts, dtype=np.float64)
    null = np.broadcast_to(np.asarray(log_null, dtype=np.float64), tilts.shape[-1:])
    drawn = mine.sum(axis=-1)
    null_first = np.concatenate([np.broadcast_to(null, (*tilts.shape[:-2], 1, null.size)), tilts], axis=-2)
    log_sum = log_normaliser(both[..., None, :], drawn[..., None], null_first)
    score = (mine[..., None, :] * (tilts - null)).sum(axis=-1)
    informative = (drawn > 0) & (drawn < both.sum(axis=-1)) & ((both > 0).sum(axis=-1) > 1)
    return np.asarray(np.where(informative[..., None], score - log_sum[..., 1:] + log_sum[..., :1], 0.0))


def log_e_two_by_two(
    canary_bad: ArrayLike,
    canary_n: ArrayLike,
    stable_bad: ArrayLike,
    stable_n: ArrayLike,
    odds_ratios: ArrayLike,
    tolerated: float,
) -> Floats:
    """Return the log e-values of a 2x2 table: canary and stable, bad and good.

    Parameters
    ----------
    canary_bad, canary_n, stable_bad, stable_n
        Bad requests and all requests of each version; shape (...) [count].
    odds_ratios
        Odds ratios (canary over stable) under the alternatives; shape (alternatives,).
    tolerated
        Odds ratio at the edge of the null; every `odds_ratios` above it tests harm, every one below it safety.

    Returns
    -------
    log_e
        (w / w0)^k Z(w0) / Z(w) in logs; shape (..., alternatives).

    Examples
    --------
    One request each, and only the canary's failed: twice the weight of the alternative, 2 * 3 / (1 + 3).

    >>> float(np.exp(log_e_two_by_two(1, 1, 0, 1, [3.0], 1.0)[0])).__round__(6)
    1.5
    """
    bad, size = np.asarray(canary_bad, dtype=np.float64), np.asarray(canary_n, dtype=np.float64)
    other_bad, other_size = np.asarray(stable_bad, dtype=np.float64), np.asarray(stable_n, dtype=np.float64)
    ratios = np.log(np.asarray(odds_ratios, dtype=np.float64))
    tilts = np.stack([np.zeros_like(ratios), ratios], axis=-1)
    return log_e_values(
        np.stack([size - bad, bad], axis=-1),
        np.stack([other_size - other_bad, other_bad], axis=-1),
        tilts,
        np.array([0.0, np.log(tolerated)]),
    )


def log_e_share(bad: ArrayLike, n: ArrayLike, shares: ArrayLike, allowed: ArrayLike) -> Floats:
    """Return the log e-values of one version's counts against an allowed share of bad requests.

    Parameters
    ----------
    bad, n
        Bad requests and all requests; shape (...) [count].
    shares
        Shares under the alternatives; shape (..., alternatives), in (0, 1) [fraction].
    allowed
        Share at the edge of the null; scalar or shape (..., 1), in (0, 1) [fraction].

    Returns
    -------
    log_e
        Binomial log likelihood ratios; shape (..., alternatives). With shares above `allowed` the expectation of
        the e-value is at most 1 for every true share up to `allowed`.
    """
    hits = np.asarray(bad, dtype=np.float64)[..., None]
    misses = np.asarray(n, dtype=np.float64)[..., None] - hits
    alternative, null = np.asarray(shares, dtype=np.float64), np.asarray(allowed, dtype=np.float64)
    up = np.log(alternative) - np.log(null)
    down = np.log1p(-alternative) - np.log1p(-null)
    return np.asarray(hits * up + misses * down, dtype=np.float64)
