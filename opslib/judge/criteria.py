"""What to judge: a frozen, validated description whose digest keys the evidence."""

from __future__ import annotations

import hashlib
import json
from dataclasses import asdict, dataclass, field
from typing import Any, Literal

from opslib.judge.mixture import Mixture

Mode = Literal["observe", "advise", "act"]
MODES: tuple[Mode, ...] = ("observe", "advise", "act")


@dataclass(frozen=True, kw_only=True)
class Failures:
    """Failed requests of the canary against those of stable in the same intervals.

    Attributes
    ----------
    tolerated_odds
        Odds ratio (canary over stable) up to which more failures are no harm; >= 1.
    odds
        Odds ratios that bets are placed on; above `tolerated_odds`.
    limit_odds, limit_rate
        A canary may be promoted only after it is shown that it does not fail *both* at this many times the odds of
        stable *and* at this rate [fraction].
    """

    name: str = "failures"
    weight: float = 0.45
    mode: Mode = "act"
    tolerated_odds: float = 1.1
    odds: tuple[float, ...] = (2.5, 5.0)
    prior: tuple[float, ...] = (0.6, 0.4)
    limit_odds: float = 2.0
    limit_rate: float = 0.005


@dataclass(frozen=True, kw_only=True)
class Latency:
    """Latency of the canary against that of stable, at the past quantiles of stable.

    Attributes
    ----------
    tolerated_slowdown
        A canary slower by up to this share is no harm; >= 0 [fraction].
    quantiles
        Quantiles of stable that cut latency into bins, rising [fraction].
    shifts
        Slowdowns of every request that bets are placed on, in standard deviations of log-latency; > 0.
    tails
        (quantile, odds) of slowdowns of the slowest requests only; the quantile is one of `quantiles`.
    prior
        Share of the bet on each of `shifts`, then each of `tails`.
    proofs
        (quantile, slowdown): promotion needs proof, at each, that the canary is not slower by this share [fraction].
    limit_odds
        Odds margin of the same proofs, for quantiles that sit in a gap of the latencies, where no slowdown shows.
    """

    name: str = "latency"
    weight: float = 0.36
    mode: Mode = "act"
    tolerated_slowdown: float = 0.05
    quantiles: tuple[float, ...] = (0.25, 0.5, 0.75, 0.9, 0.95, 0.99)
    shifts: tuple[float, ...] = (0.2, 0.6)
    tails: tuple[tuple[float, float], ...] = ((0.99, 2.7),)
    prior: tuple[float, ...] = (0.4, 0.2, 0.4)
    proofs: tuple[tuple[float, float], ...] = ((0.5, 0.2), (0.95, 0.2), (0.99, 0.5))
    limit_odds: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Together:
    """Failures and latency bet on as one: finds a canary that gets a little worse in both."""

    name: str = "together"
    weight: float = 0.11
    mode: Mode = "act"
    pairs: tuple[tuple[int, int], ...] = ((0, 0), (1, 0), (1, 1), (0, 1))
    prior: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class Slo:
    """An absolute promise: at most `allowed` of the requests fail, or are slower than `threshold_ms`.

    Attributes
    ----------
    threshold_ms
        A request slower than this is bad; None counts failures instead [ms].
    allowed
        Share of bad requests that the promise allows; in (0, 1) [fraction].
    times
        Multiples of `allowed` that bets are placed on; above 1. Shares are kept below 0.95.
    """

    name: str
    allowed: float
    threshold_ms: float | None = None
    weight: float = 0.04
    mode: Mode = "act"
    times: tuple[float, ...] = (1.3, 1.8, 3.0, 8.0)
    prior: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """A yes/no business outcome by exposure cohort, for example "did not convert".

    Attributes
    ----------
    window_s
        Time after its request within which the outcome may still come; younger cohorts are not judged [seconds].
    limit_odds
        Promotion needs proof that the odds of the bad outcome are below this multiple of those of stable.
    """

    name: str
    weight: float = 0.1
    mode: Mode = "advise"
    window_s: float = 0.0
    tolerated_odds: float = 1.05
    odds: tuple[float, ...] = (1.2, 1.6, 3.0)
    prior: tuple[float, ...] = (0.4, 0.4, 0.2)
    limit_odds: float = 1.25


@dataclass(frozen=True, kw_only=True)
class Answers:
    """Golden or mirrored questions that the canary answers otherwise than stable did: at most `allowed` of them."""

    allowed: float
    name: str = "changed answers"
    weight: float = 0.1
    mode: Mode = "advise"
    times: tuple[float, ...] = (1.5, 2.5, 6.0)
    prior: tuple[float, ...] = (0.4, 0.4, 0.2)


@dataclass(frozen=True, kw_only=True)
class Mean:
    """A business measure per request (order value, score); valid only asymptotically, and reported as such.

    Attributes
    ----------
    tolerated_drop
        A mean that falls (or, with `larger_is_better` false, rises) by up to this much is no harm [unit of measure].
    tuned_for_intervals
        Number of intervals at which the bound is tightest; > 0 [count].
    """

    name: str
    weight: float = 0.05
    mode: Mode = "observe"
    tolerated_drop: float = 0.0
    larger_is_better: bool = True
    tuned_for_intervals: int = 30


Criterion = Failures | Latency | Together | Slo | Outcome | Answers | Mean


@dataclass(frozen=True, kw_only=True)
class Criteria:
    """Everything that a verdict depends on besides the traffic.

    Attributes
    ----------
    metrics
        What is watched; names differ.
    alpha
        Largest probability of ever rolling back a canary that is within every tolerance; in (0, 0.5) [fraction].
    promote_alpha
        Largest probability, per metric, that a canary at its limit is taken for proven at the end of a stage.
    looks
        How often the end of one stage may be judged (1 + extensions of a hold); `promote_alpha` is shared by them.
    suspicion
        Evidence of harm (times more likely) above which nothing is promoted, proven or not; > 1.
    least_intervals, least_requests
        Floors below which nothing is promoted, whatever the numbers say [count].
    least_stable_share
        Share of the traffic that stable must have for a comparison [fraction].
    most_gain
        No interval multiplies a metric's evidence by more than this; None is no cap.
    warm_up_s
        Traffic in the first seconds after the first request to the canary is not judged [seconds].
    idle, onsets_per_minute, moves_per_minute
        See `Mixture`.
    """

    metrics: tuple[Criterion, ...] = field(default_factory=lambda: (Failures(), Latency(), Together()))
    alpha: float = 0.05
    promote_alpha: float = 0.05
    looks: int = 1
    suspicion: float = 10.0
    least_intervals: int = 5
    least_requests: int = 200
    least_stable_share: float = 0.05
    most_gain: float | None = None
    warm_up_s: float = 0.0
    idle: float = 0.3
    onsets_per_minute: float = 1 / 30
    moves_per_minute: float = 1 / 60

    def __post_init__(self) -> None:
        """Refuse criteria that cannot be judged, naming what was expected and what was seen."""
        names = [metric.name for metric in self.metrics]
        _require(bool(names), "metrics", "at least one", names)
        _require(len(set(names)) == len(names), "metric names", "all different", names)
        _require(0 < self.alpha < 0.5, "alpha", "within (0, 0.5)", self.alpha)
        _require(0 < self.promote_alpha < 0.5, "promote_alpha", "within (0, 0.5)", self.promote_alpha)
        _require(self.looks >= 1, "looks", "at least 1", self.looks)
        _require(self.suspicion > 1, "suspicion", "above 1", self.suspicion)
        _require(0 <= self.idle < 1, "idle", "within [0, 1)", self.idle)
        _require(self.most_gain is None or self.most_gain > 1, "most_gain", "None or above 1", self.most_gain)
        for metric in self.metrics:
            _check(metric)
        kinds = {type(metric) for metric in self.metrics}
        if Together in kinds:
            _require({Failures, Latency} <= kinds, "Together", "Failures and Latency beside it", names)

    def acting(self) -> dict[str, float]:
        """Give the metrics that may roll back, with weights that sum to 1."""
        weights = {metric.name: metric.weight for metric in self.metrics if metric.mode == "act"}
        return {name: weight / sum(weights.values()) for name, weight in weights.items()}

    def digest(self) -> str:
        """Hash every field; equal criteria have equal digests on every machine."""
        return hashlib.sha256(json.dumps(describe(self), sort_keys=True).encode()).hexdigest()


def bets(metric: Criterion, criteria: Criteria) -> Mixture:
    """Give the mixture over effects of one metric."""
    prior = getattr(metric, "prior", (1.0,))
    return Mixture(
        prior=prior,
        idle=criteria.idle,
        onsets_per_minute=criteria.onsets_per_minute,
        moves_per_minute=criteria.moves_per_minute,
    )


def describe(criteria: Criteria) -> dict[str, Any]:
    """Write criteria as JSON values; each metric says its kind."""
    rows = [{"kind": type(metric).__name__, **asdict(metric)} for metric in criteria.metrics]
    return {**asdict(criteria), "metrics": rows}


def _check(metric: Criterion) -> None:
    _require(metric.mode in MODES, f"{metric.name}: mode", f"one of {MODES}", metric.mode)
    _require(metric.weight > 0, f"{metric.name}: weight", "above 0", metric.weight)
    prior = getattr(metric, "prior", (1.0,))
    right = all(share > 0 for share in prior) and abs(sum(prior) - 1.0) < 1e-9
    _require(
        right and len(prior) == _effects(metric),
        f"{metric.name}: prior",
        "one share per effect, sum 1",
        prior,
    )
    if isinstance(metric, Failures | Outcome):
        _require(
            metric.tolerated_odds >= 1, f"{metric.name}: tolerated_odds", "at least 1", metric.tolerated_odds
        )
        bound = metric.tolerated_odds
        _require(min(metric.odds) > bound, f"{metric.name}: odds", "above tolerated_odds", metric.odds)
        _require(
            metric.limit_odds > bound, f"{metric.name}: limit_odds", "above tolerated_odds", metric.limit_odds
        )
    if isinstance(metric, Mean):
        _require(
            metric.mode != "act",
            f"{metric.name}: mode",
            "observe or advise, as a mean is only asymptotic",
            "act",
        )
    if isinstance(metric, Slo | Answers):
        _require(0 < metric.allowed < 0.9, f"{metric.name}: allowed", "within (0, 0.9)", metric.allowed)
        _require(min(metric.times) > 1, f"{metric.name}: times", "above 1", metric.times)
    if isinstance(metric, Latency):
        cuts = metric.quantiles
        rising = list(cuts) == sorted(set(cuts)) and 0 < cuts[0] and cuts[-1] < 1
        _require(rising, f"{metric.name}: quantiles", "rising within (0, 1)", cuts)
        _require(
            {q for q, _ in (*metric.tails, *metric.proofs)} <= set(cuts),
            metric.name,
            "tails and proofs at",
            cuts,
        )


def _effects(metric: Criterion) -> int:
    if isinstance(metric, Latency):
        return len(metric.shifts) + len(metric.tails)
    for name in ("odds", "pairs", "times"):
        if hasattr(metric, name):
            return len(getattr(metric, name))
    return 1


def _require(right: bool, what: str, expected: str, seen: object) -> None:
    if not right:
        raise ValueError(f"{what}: expected {expected}, got {seen!r}")
