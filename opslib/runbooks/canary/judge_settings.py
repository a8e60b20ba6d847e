"""What a canary is judged by: the judge's criteria from the runbook's parameters, and the versions' digests."""

import math
from dataclasses import dataclass

from opslib.azure.source import Source
from opslib.judge import (
    EXTRA_LOOKS,
    PUBLISHED,
    Answers,
    BusinessOutcome,
    Criteria,
    Failures,
    Joint,
    Latency,
    Mean,
    Slo,
)
from opslib.model import Deployment
from opslib.parameters.canary import CanaryParameters

P99_SLACK = 2.5
"""A p99 varies more from day to day than a median: its proof allows so many times the slowdown [ratio]."""


@dataclass(frozen=True)
class JudgeSettings:
    """How one canary is judged.

    Attributes
    ----------
    criteria
        The metrics and their limits.
    lag_s
        Age that an interval must have before it is judged [seconds].
    outcomes
        Path of the ``.jsonl`` of outcomes; empty where none are judged.
    outcome_window_s
        Time within which an outcome may follow its request [seconds].
    """

    criteria: Criteria
    lag_s: float
    outcomes: str = ""
    outcome_window_s: float = 0.0


def judge_settings(p: CanaryParameters, source: Source) -> JudgeSettings:
    """Return the settings of a run that observes by this source."""
    return JudgeSettings(
        criteria=criteria_of(p, per_request=source.per_request),
        lag_s=max(p.settle_s, source.least_lag_s),
        outcomes=p.outcomes,
        outcome_window_s=p.outcome_window_s,
    )


def criteria_of(p: CanaryParameters, *, per_request: bool) -> Criteria:
    """Return the metrics and limits of a run.

    Parameters
    ----------
    p
        The run's parameters.
    per_request
        Whether the source has a row for each request; otherwise it has published percentiles alone.
    """
    return Criteria(
        metrics=(
            Failures(mode=p.failures_mode, limit_rate=p.max_failure_rate),
            _latency(p, per_request=per_request),
            Joint(mode="act" if p.failures_mode == p.latency_mode == "act" else "observe"),
            Slo(name="p95 limit", allowed=0.05, threshold_ms=p.max_p95_ms, mode=p.latency_mode),
            Slo(name="failure limit", allowed=p.max_failure_rate, mode=p.failures_mode),
            *_answers(p),
            *(
                BusinessOutcome(name=name, window_s=p.outcome_window_s, mode=p.outcomes_mode)
                for name in p.bad_outcomes
            ),
            *(Mean(name=name, tolerated_drop=drop, mode="advise") for name, drop in p.measures.items()),
        ),
        alpha=p.alpha,
        least_requests=p.min_requests,
        looks=1 + max(0, math.ceil((p.max_bake_s - p.bake_s) / p.bake_s)) + EXTRA_LOOKS[p.on_hold],
        warm_up_s=p.warm_up_s,
    )


def _latency(p: CanaryParameters, *, per_request: bool) -> Latency:
    proofs = tuple((q, p.max_slowdown * (P99_SLACK if q > 0.95 else 1.0)) for q in p.proven_quantiles)
    return Latency(
        mode=p.latency_mode,
        tolerated_slowdown=p.tolerated_slowdown,
        proofs=tuple((q, max(slow, 1.01 * p.tolerated_slowdown)) for q, slow in proofs),
        quantiles=Latency.quantiles if per_request else PUBLISHED,
    )


def _answers(p: CanaryParameters) -> tuple[Answers, ...]:
    """Judge answers to probes that have no expected answer; nothing where no probes are sent."""
    if not p.probes or not p.probe_every_s:
        return ()
    return (Answers(allowed=p.max_changed_answers, mode=p.answers_mode),)


def version_digest(deployment: Deployment | None) -> str:
    """Return a version's name and the start of its digest, by which the judge keeps evidence apart."""
    return "" if deployment is None else f"{deployment.name}@{deployment.version_sha256[:16]}"
