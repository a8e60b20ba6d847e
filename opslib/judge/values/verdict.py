"""The values that come out of a look."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from opslib.displayed import Displayed

Decision = Literal["rollback", "hold", "continue", "promote"]

PRECEDENCE: tuple[Decision, ...] = ("rollback", "hold", "continue", "promote")
"""Worst first: the first of these that applies is the decision; see `precedence.decide`."""


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """One metric in one interval (`log_gain`) and up to its end (`log_evidence`).

    Counts are those of the interval: bad and all requests of each version [count]; for latency "bad" is slower than
    the tolerated stretch of stable's P95, or of its highest quantile where P95 is not one of the cuts.
    """

    name: str
    mode: str
    canary_bad: int
    canary_n: int
    stable_bad: int
    stable_n: int
    log_gain: float
    log_evidence: float
    known: bool


@dataclass(frozen=True, kw_only=True)
class IntervalResult:
    """One judged interval, as it goes into the journal."""

    start_s: float
    length_s: float
    weight: float
    source: str
    log_evidence: float
    log_threshold: float
    metrics: tuple[MetricResult, ...]
    sentence: str


@dataclass(frozen=True, kw_only=True)
class Proof:
    """One question that promotion asks, and its answer.

    Attributes
    ----------
    metric, claim
        What is to be shown, for people: "failures", "failures are below 0.5 %".
    p, alpha
        Probability of numbers as good for a canary at its limit, and the level it must not exceed [fraction].
    canary_share, stable_share, bound
        Shares of bad requests seen, and what the canary's must be shown to be below [fraction].
    canary_n
        Requests of the canary behind it; intervals where percentiles are compared by rank [count].
    more_requests
        Further canary requests after which it is shown with 80 % probability if the canary is as good as stable has
        been; None if no amount shows it [count].
    """

    metric: str
    claim: str = field(metadata={"stored_as": "place"})
    p: float
    alpha: float
    canary_share: float
    stable_share: float
    bound: float
    canary_n: int
    more_requests: int | None

    @property
    def proven(self) -> bool:
        """Whether the canary was shown to be better than its limit."""
        return self.p <= self.alpha


@dataclass(frozen=True, kw_only=True)
class Verdict(Displayed):
    """What to do now, and why.

    Attributes
    ----------
    outcome
        `rollback`, `continue` (the bake is not over), `promote` or `hold` (over, and not decided).
    binding
        Metric that decided, or that stands in the way; empty if none does.
    log_evidence, log_peak, log_threshold
        Evidence for a rollback now, its highest value so far, and where it decides, in natural logs.
    log_metrics
        (metric, its own log evidence).
    proofs
        At the end of a stage; empty before.
    reasons
        One sentence per thing that stands against promotion, worst first.
    more_requests, more_minutes
        Estimate of what decides a hold; None when it cannot be said or traffic alone will not.
    lines
        One per interval judged in this call.
    basis
        What it was judged from, and what that costs in power.
    sentence
        The outcome for people, with its numbers.
    """

    outcome: Decision
    binding: str
    log_evidence: float
    log_peak: float
    log_threshold: float
    log_metrics: tuple[tuple[str, float], ...]
    proofs: tuple[Proof, ...]
    reasons: tuple[str, ...]
    more_requests: int | None
    more_minutes: float | None
    lines: tuple[IntervalResult, ...]
    basis: str
    sentence: str
