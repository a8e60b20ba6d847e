"""Kayenta at the times of its documentation: three hours, judged every hour.

It looks at one point a minute, so that the points are drawn instead of the requests: failures, and the 95th and
99th percentile as order statistics of as many latencies. Worlds are those of `traffic`; after their 30 minutes they
stay as they are.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import scipy

from .kayenta import kayenta_classify
from .ours import Result
from .peers import stopped
from .traffic import MEDIAN_MS, MINUTES, SIGMA, SLO_MS, WEIGHT, Scenario, seed_of

HOURS = 3
RULE = f"Kayenta, documented times ({HOURS} h, judged hourly)"


def hourly(scenario: Scenario, rate: float, runs: int, seed: int) -> tuple[Result, np.ndarray]:
    """Judge `runs` runs; give the result, and the canary's bad requests up to the end of each minute."""
    rng = np.random.Generator(np.random.SFC64([seed, seed_of(scenario.name), int(rate), HOURS]))
    minutes = 60 * HOURS
    time = np.minimum(np.arange(minutes) + 0.5, MINUTES - 0.5)
    one = np.ones(minutes)
    load = scenario.load(time) if scenario.load else one
    failures = scenario.failures(time) if scenario.failures else scenario.base * one
    factor = scenario.factor(time) if scenario.factor else one
    burst = rng.random((runs, minutes)) < (0.1 if scenario.bursts else 0.0)
    points: dict[str, Any] = {}
    bad: Any = 0.0
    for arm in ("canary", "control"):
        canary = arm == "canary"
        share = scenario.canary_failures(time) if canary and scenario.canary_failures else failures
        stretch = factor * (scenario.canary_factor(time) if canary and scenario.canary_factor else 1.0)
        shape = (canary and scenario.canary_shape) or scenario.shape
        extra = rng.binomial(40, WEIGHT / 100, burst.shape) * burst
        good = rng.poisson(rate * WEIGHT / 100 * load, (runs, minutes))
        failed = rng.binomial(good, share)
        good, failed = good - failed, failed + extra
        p95, p99 = (quantile(shape, u) * stretch for u in order_statistics(rng, np.maximum(good, 1)))
        points[arm] = 100 * failed / np.maximum(good + failed, 1), p95, p99
        if canary:
            slow = rng.binomial(good, 1.0 - cumulative(shape, SLO_MS / stretch))
            bad = {"failures": failed, "slow": slow, "both": failed + slow}[scenario.harm].cumsum(axis=1)
    failing = np.zeros((runs, minutes), dtype=bool)
    for minute in range(60, minutes + 1, 60):
        for mine, other in zip(points["canary"], points["control"], strict=True):
            for block in range(0, runs, 50):  # every pair of points is compared: blocks keep memory flat
                rows = slice(block, block + 50)
                labels = kayenta_classify(mine[rows, :minute], other[rows, :minute])
                failing[rows, minute - 1] |= labels == "High"
    return stopped(failing, runs), bad


def order_statistics(rng, n):
    """Draw the uniform order statistics of ranks ceil(0.95 n) and ceil(0.99 n), jointly."""
    first, last = (np.maximum(np.ceil(q * n - 1e-9), 1) for q in (0.95, 0.99))
    upper = rng.beta(last, n + 1 - last)
    apart = rng.beta(first, np.maximum(last - first, 1))
    return np.where(last > first, upper * apart, upper), upper


def cumulative(shape: str, latency_ms):
    """Share of requests at or below a latency."""
    place = np.log(np.asarray(latency_ms, dtype=float) / MEDIAN_MS)
    z = place / SIGMA
    if shape == "bimodal":
        return 0.95 * scipy.special.ndtr(place / 0.35) + 0.05 * scipy.special.ndtr((place - np.log(10.0)) / 0.1)
    if shape == "heavy":  # log-normal times Pareto: normal plus exponential of rate 1.5 in logs
        tail = scipy.special.ndtr(z) - np.exp(-1.5 * place + 0.5 * (1.5 * SIGMA) ** 2) * scipy.special.ndtr(
            z - 1.5 * SIGMA
        )
        return 0.98 * scipy.special.ndtr(z) + 0.02 * tail
    if shape == "tail":
        grid = np.linspace(-6, 6, 20001)
        return scipy.special.ndtr(np.interp(place, SIGMA * grid + _lifted(grid), grid))
    return scipy.special.ndtr(z)


def quantile(shape: str, u):
    """Latency below which a share `u` of the requests lies [ms]."""
    if shape == "tail":
        z = scipy.special.ndtri(u)
        return MEDIAN_MS * np.exp(SIGMA * z + _lifted(z))
    if shape == "lognormal":
        return MEDIAN_MS * np.exp(SIGMA * scipy.special.ndtri(u))
    grid = np.linspace(np.log(MEDIAN_MS) - 4, np.log(MEDIAN_MS) + 14, 20001)
    return np.exp(np.interp(u, cumulative(shape, np.exp(grid)), grid))


def _lifted(z):
    return np.log(2.0) * np.clip((z - 1.645) / (2.326 - 1.645), 0.0, 1.0)
