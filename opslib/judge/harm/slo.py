"""Absolute limits (SLOs); a limit that both versions break is not held against the canary."""

import numpy as np
from numpy.typing import NDArray

from opslib.judge.harm.latency import count_above
from opslib.judge.harm.percentiles import log_e_rank_share
from opslib.judge.harm.tables import log_e_share
from opslib.judge.values.interval import Arm, Interval
from opslib.judge.values.metrics import Slo

Floats = NDArray[np.float64]


def bad_requests(metric: Slo, arm: Arm) -> tuple[int, int] | None:
    """Count an arm's bad and all requests under a limit; None if the latencies were not counted there [count]."""
    if metric.threshold_ms is None:
        return arm.failures, arm.requests
    above = count_above(arm, metric.threshold_ms)
    return None if above is None else (above, arm.latency_n)


def log_e_value(metric: Slo, interval: Interval) -> tuple[Floats | None, Floats | None]:
    """Return the log e-values of one interval: that the canary breaks the limit, and that stable does.

    Returns
    -------
    canary, stable
        Log e-values under each multiple of the allowed share; None without data. The canary's are 0 in an
        interval in which stable broke the limit too: no bet is placed, since rolling back would not fix it.
        Whether to bet is decided by stable's requests alone, so the canary's e-value keeps its expectation. (An
        incident that lifts both just above the limit still places bets in the minutes in which stable keeps it
        by chance: the benchmark's shared incident measures that this stays harmless.)
    """
    shares = np.minimum(np.asarray(metric.times) * metric.allowed, 0.95)
    mine, other = _log_e_value(metric, interval.canary, shares), _log_e_value(metric, interval.stable, shares)
    counts = bad_requests(metric, interval.stable)
    shared = counts is not None and counts[1] > 0 and counts[0] > metric.allowed * counts[1]
    return np.zeros(shares.size) if shared and mine is not None else mine, other


def _log_e_value(metric: Slo, arm: Arm, shares: Floats) -> Floats | None:
    counts = bad_requests(metric, arm)
    if counts is None or counts[1] == 0:
        return None
    only_percentiles = metric.threshold_ms is not None and not arm.samples_ms and not arm.above
    if only_percentiles:
        levels, latencies = zip(*arm.percentiles_ms, strict=True)
        return log_e_rank_share(levels, latencies, counts[1], metric.threshold_ms or 0.0, shares, metric.allowed)
    return log_e_share(*counts, shares, metric.allowed)
