"""The values that come out of a look."""

from dataclasses import dataclass, field
from typing import Literal

from opslib.displayed import Displayed

Decision = Literal["rollback", "hold", "continue", "promote"]

PRECEDENCE: tuple[Decision, ...] = ("rollback", "hold", "continue", "promote")
"""Worst first: the first of these that applies is the decision; see `precedence.decide`."""


@dataclass(frozen=True, kw_only=True)
class MetricResult:
    """One metric in one interval (`log_gain`) and up to its end (`log_evidence`).

    `log_gain` is for readers of the journal; `asymptotic` marks evidence without an exact guarantee. Counts are
    those of the interval: bad and all requests of each version [count]; for latency "bad" is slower than the
    tolerated stretch of stable's P95, or of its highest quantile where P95 is not one of the cuts.
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
    asymptotic: bool = False


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
    """One claim that promotion needs, and whether it is proven.

    Attributes
    ----------
    metric, claim, counted
        For people: the metric, what is to be shown ("failures below 0.5 %"), and what is counted ("canary requests
        failed").
    p, alpha
        Probability of numbers as good for a canary at its limit, and the level it must not exceed [fraction].
    canary_share, stable_share
        Shares of bad requests seen [fraction].
    bound
        Limit: the share that the canary must be shown to be below [fraction].
    upper
        Upper confidence bound of the canary's share, at confidence 1 - alpha: at most `bound` exactly if the claim
        is proven. None without data, and where stable had no bad request to compare with [fraction].
    canary_bad, canary_n, stable_bad, stable_n
        Counts behind the shares: requests, or intervals where percentiles are compared by rank; then `stable_n` is
        0, since `stable_share` is what equal versions would show on average [count].
    more_requests
        Further canary requests after which it is shown with 80 % probability if the canary is as good as stable has
        been; None if no amount shows it [count].
    """

    metric: str
    claim: str = field(metadata={"stored_as": "place"})
    counted: str
    p: float
    alpha: float
    canary_share: float
    stable_share: float
    bound: float
    upper: float | None
    canary_bad: int
    canary_n: int
    stable_bad: int
    stable_n: int
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
        Metric that decided, or that prevents the promotion; empty if none does. "traffic" where too little was
        seen, or none.
    log_evidence, log_peak, log_threshold
        Evidence for a rollback now, its highest value so far, and where it decides, in natural logs.
    log_metrics
        (metric, its own log evidence).
    proofs
        At the end of a stage; empty before.
    reasons
        One sentence per reason not to promote, worst first.
    more_requests, more_minutes
        Estimate of what decides a hold; None where more traffic alone does not decide it.
    lines
        One per interval judged in this call.
    basis
        What it was judged from, and what that costs in power.
    sentence
        The decision for people, with its numbers.
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
