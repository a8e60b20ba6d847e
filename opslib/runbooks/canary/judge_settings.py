"""What a canary is judged by, and which versions the evidence is about."""

import hashlib
import json
import math
from collections.abc import Mapping
from typing import Any

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
from opslib.parameters import CanaryParameters


def criteria_of(p: CanaryParameters, source: str) -> Criteria:
    """Say what is judged, from a run's parameters and the source that it watches by."""
    slack = 2.5  # the slowest one in a hundred requests varies more
    proofs = tuple((q, p.max_slowdown * (slack if q > 0.95 else 1.0)) for q in p.proven_quantiles)
    latency = Latency(
        mode=p.latency_mode,
        tolerated_slowdown=p.tolerated_slowdown,
        proofs=tuple((q, max(slow, 1.01 * p.tolerated_slowdown)) for q, slow in proofs),
    )
    if source == "metrics":
        latency = Latency(
            mode=latency.mode,
            tolerated_slowdown=latency.tolerated_slowdown,
            proofs=latency.proofs,
            quantiles=PUBLISHED,
        )
    return Criteria(
        metrics=(
            Failures(mode=p.failures_mode, limit_rate=p.max_failure_rate),
            latency,
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


def _answers(p: CanaryParameters) -> tuple[Answers, ...]:
    """What is judged of answers that nobody knows beforehand; nothing, where nothing is asked."""
    if not p.probes or not p.probe_every_s:
        return ()
    return (Answers(allowed=p.max_changed_answers, mode=p.answers_mode),)


def digest(deployment: Deployment | None) -> str:
    """Name a version by what decides its answers: evidence about another version says nothing of this one."""
    if deployment is None:
        return ""
    properties: Mapping[str, Any] = deployment.arm["properties"]
    what = {
        key: properties.get(key) for key in ("model", "environmentId", "codeConfiguration", "environmentVariables")
    }
    text = json.dumps([what, deployment.instance_type], sort_keys=True)
    return f"{deployment.name}@{hashlib.sha256(text.encode()).hexdigest()[:16]}"
