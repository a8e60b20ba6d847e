"""Rules of other release tools, on many runs at once, written from what their sources do.

Each takes `Traffic` and gives `Result`. Choices are in the peers' favour: exact percentiles, no scrape noise, no
delay, limits that know the base rate, an extra canary-sized control for free.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from .kayenta import kayenta_classify
from .ours import Result
from .traffic import MINUTES, REPORTED, SLO_MS, SLOTS, Traffic

P95, P99 = REPORTED.index(0.95), REPORTED.index(0.99)


def per_minute(values):
    return values.reshape(values.shape[0], MINUTES, SLOTS).sum(axis=2)


def failure_rate(traffic: Traffic, arm: str = "canary", window: int = 1):
    bad, n = per_minute(traffic.failures[arm]), per_minute(traffic.n[arm])
    bad, n = (v.reshape(v.shape[0], -1, window).sum(axis=2) for v in (bad, n))
    return bad / np.maximum(n, 1)


def stopped(failed_at, runs) -> Result:
    """Roll back at the first True minute, else promote at the end."""
    hit = failed_at.any(axis=1)
    minute = np.where(hit, failed_at.argmax(axis=1) + 1.0, np.nan)
    return Result(np.where(hit, "rollback", "promote"), minute, {})


# Argo Rollouts: analysis/analysis.go. A metric fails once more measurements than its limit have failed.


def argo_phase(failed: int, failure_limit: int = 0) -> str:
    """Phase of one metric from its count of failed measurements."""
    return "Failed" if failed > failure_limit else "Running"


def argo_errors_phase(consecutive: int, limit: int = 4, *, terminating: bool = False) -> str:
    """Phase of one metric from its consecutive errors; one stopped early counts as successful."""
    if consecutive > limit:
        return "Error"
    return "Successful" if terminating else "Running"


def argo_docs(traffic: Traffic) -> Result:
    """At least 95 % success in windows of five minutes, failureLimit 3: the setting most shown in the guide."""
    bad = failure_rate(traffic, window=5) > 0.05
    over = np.repeat(bad.cumsum(axis=1) > 3, 5, axis=1)
    at = np.zeros_like(over)
    at[:, 4::5] = over[:, 4::5]
    return stopped(at, len(bad))


def argo_slo(traffic: Traffic) -> Result:
    """Failure limit and p95 promise each minute, a counter each, failureLimit 3."""
    slow = traffic.percentiles["canary"][..., P95] > SLO_MS
    bad = failure_rate(traffic) > traffic.scenario.slo
    return stopped((bad.cumsum(axis=1) > 3) | (slow.cumsum(axis=1) > 3), len(bad))


# Flagger: pkg/controller/scheduler.go. One shared counter that is never reset; the tick after it reaches the
# threshold rolls back.


def flagger_ticks(failing, threshold: int):
    """Whether each tick rolls back, given whether its checks fail; shape (runs, ticks)."""
    count = np.cumsum(failing, axis=1)
    before = np.concatenate([np.zeros_like(count[:, :1]), count[:, :-1]], axis=1)
    return before >= threshold


def flagger_docs(traffic: Traffic) -> Result:
    """Success below 99 % or P99 above 500 ms, every minute, threshold 5."""
    failing = (failure_rate(traffic) > 0.01) | (traffic.percentiles["canary"][..., P99] > 500)
    return stopped(flagger_ticks(failing, 5), len(failing))


def flagger_slo(traffic: Traffic) -> Result:
    """The same with this endpoint's own failure limit and p95 promise."""
    tail = traffic.percentiles["canary"]
    failing = (failure_rate(traffic) > traffic.scenario.slo) | (tail[..., P95] > SLO_MS) | (tail[..., P99] > 500)
    return stopped(flagger_ticks(failing, 5), len(failing))


# SageMaker deployment guardrails: any CloudWatch alarm in ALARM during the bake rolls everything back.


def alarm(breaching, datapoints: int, periods: int):
    """Whether an alarm is in ALARM after each period: at least `datapoints` of the last `periods` breach."""
    padded = np.concatenate([np.zeros((len(breaching), periods - 1)), breaching], axis=1)
    windows = np.lib.stride_tricks.sliding_window_view(padded, periods, axis=1)
    return windows.sum(axis=-1) >= datapoints


def sagemaker_example(traffic: Traffic) -> Result:
    """The published example: all invocations failing, or mean latency above 1 s, for one minute."""
    size = per_minute(traffic.n["canary"]) - per_minute(traffic.failures["canary"])
    slow = traffic.mean["canary"] / np.maximum(size, 1) >= 1000
    return stopped(alarm((failure_rate(traffic) >= 1) | slow, 1, 1), len(slow))


def sagemaker_slo(traffic: Traffic) -> Result:
    """Alarms on the failure limit and the p95 promise, 3 of 3 datapoints of a minute."""
    slow = alarm(traffic.percentiles["canary"][..., P95] > SLO_MS, 3, 3)
    bad = alarm(failure_rate(traffic) > traffic.scenario.slo, 3, 3)
    return stopped(slow | bad, len(slow))


# Kayenta: see `kayenta`.


def _kayenta(traffic: Traffic, baseline: str, looks) -> Result:
    """Three groups of one metric, marginal 75 and pass 95: one High metric fails the canary."""
    failing = np.zeros((len(traffic.reference_ms), MINUTES), dtype=bool)
    points = {
        arm: [100 * failure_rate(traffic, arm), *(traffic.percentiles[arm][..., i] for i in (P95, P99))]
        for arm in ("canary", baseline)
    }
    for minute in looks:
        for mine, other in zip(points["canary"], points[baseline], strict=True):
            failing[:, minute - 1] |= kayenta_classify(mine[:, :minute], other[:, :minute]) == "High"
    return stopped(failing, len(failing))


def kayenta_five(traffic: Traffic) -> Result:
    """Canary-sized baseline, judged every five minutes on a growing window."""
    return _kayenta(traffic, "control", range(5, MINUTES + 1, 5))


def kayenta_all(traffic: Traffic) -> Result:
    """All old traffic as baseline, judged every five minutes."""
    return _kayenta(traffic, "stable", range(5, MINUTES + 1, 5))


def kayenta_once(traffic: Traffic) -> Result:
    """Canary-sized baseline, one judgement at the end."""
    return _kayenta(traffic, "control", (MINUTES,))


# GrowthBook Safe Rollouts: one-sided asymptotic confidence sequence on each guardrail, against zero.


def sequential_half_width(deviation, n, alpha: float = 0.05, tuning: float = 5000.0):
    """Half width of the one-sided sequence, per-observation deviation (Waudby-Smith et al., eqs. 134 and 161)."""
    doubled = -2.0 * np.log(2 * alpha)
    rho2 = (doubled + np.log(doubled + 1)) / tuning
    return deviation * np.sqrt(2 * (n * rho2 + 1) / (n * n * rho2) * np.log1p(np.sqrt(n * rho2 + 1) / (2 * alpha)))


def guardrails(traffic: Traffic):
    """Cumulative (n, mean, variance) of each arm for failures, share of slow requests and mean latency."""
    out = []
    for kind in ("failures", "slow", "mean"):
        arms = {}
        for arm in ("canary", "stable"):
            n = per_minute(traffic.n[arm])
            failed = per_minute(traffic.failures[arm])
            if kind == "failures":
                total, square = failed, failed
            else:
                n = n - failed
                total = traffic.slow[arm] if kind == "slow" else traffic.mean[arm]
                square = traffic.slow[arm] if kind == "slow" else traffic.square[arm]
            n, total, square = (v.cumsum(axis=1) for v in (n, total, square))
            size = np.maximum(n, 2)
            mean = total / size
            arms[arm] = size, mean, np.maximum(square / size - mean**2, 0) * size / (size - 1)
        out.append(arms)
    return out


def growthbook(traffic: Traffic) -> Result:
    """Three guardrails every minute; inconclusive ships."""
    failing: Any = False
    for arms in guardrails(traffic):
        (n_c, mean_c, var_c), (n_s, mean_s, var_s) = arms["canary"], arms["stable"]
        spread = np.sqrt(var_c / n_c + var_s / n_s)
        n = n_c + n_s
        failing = failing | ((mean_c - mean_s - sequential_half_width(spread * np.sqrt(n), n) > 0) & (spread > 0))
    return stopped(failing, len(failing))


def naive(traffic: Traffic) -> Result:
    """One-sided z test at 5 % on the same three, repeated every minute."""
    failing: Any = False
    for arms in guardrails(traffic):
        (n_c, mean_c, var_c), (n_s, mean_s, var_s) = arms["canary"], arms["stable"]
        spread = np.sqrt(var_c / n_c + var_s / n_s)
        failing = failing | ((mean_c - mean_s) > 1.645 * spread) & (spread > 0)
    return stopped(failing, len(failing))


RULES = {
    "Argo Rollouts, guide's example (95 %, 5 min, limit 3)": argo_docs,
    "Argo Rollouts, endpoint's limits (1 min, limit 3)": argo_slo,
    "Flagger, docs (99 %, P99 500 ms, threshold 5)": flagger_docs,
    "Flagger, endpoint's limits (threshold 5)": flagger_slo,
    "SageMaker guardrails, published example": sagemaker_example,
    "SageMaker guardrails, endpoint's limits (3 of 3)": sagemaker_slo,
    "Kayenta, equal baseline, every 5 min": kayenta_five,
    "Kayenta, all old traffic, every 5 min": kayenta_all,
    "Kayenta, equal baseline, once at the end": kayenta_once,
    "GrowthBook Safe Rollout, every minute": growthbook,
    "z tests at 5 %, every minute (naive)": naive,
}
