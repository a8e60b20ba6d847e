"""The metrics that can be watched: what is tolerated, which effects are looked for, what promotion must prove."""

from dataclasses import dataclass
from typing import Literal

from opslib.errors import JudgeError

Mode = Literal["observe", "advise", "act"]
MODES: tuple[Mode, ...] = ("observe", "advise", "act")

# Percentiles that Azure Monitor publishes: `Latency(quantiles=PUBLISHED)` where there is no request log.
PUBLISHED = (0.5, 0.9, 0.95, 0.99)


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
        A promotion needs proof that the canary does not fail *both* at this many times the odds of stable *and* at
        this rate [fraction].
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
        (quantile, slowdown): promotion needs proof, at each, that the canary is not slower by this share
        [fraction].
    limit_odds
        Odds margin of the same proofs, for quantiles that sit in a gap of the latencies, where no slowdown shows.
        Where only percentiles are published, those in a gap are compared by rank: see `ranks`.
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
class Ranks:
    """Latency from published percentiles alone, exact and slow to decide: see `ranks`.

    Attributes
    ----------
    quantile
        Percentile of the canary that is placed among those of stable [fraction].
    tolerated_slowdown
        A canary slower by up to this share is no harm; >= 0 [fraction].
    odds
        Odds of being slow that bets are placed on; above 1.
    limit_slowdown, limit_odds
        Promotion needs proof that the canary is not slower by this share [fraction], or not at this many times
        stable's odds of being slow.
    """

    name: str = "latency ranks"
    weight: float = 0.05
    mode: Mode = "act"
    quantile: float = 0.95
    tolerated_slowdown: float = 0.05
    odds: tuple[float, ...] = (2.0, 5.0)
    prior: tuple[float, ...] = (0.5, 0.5)
    limit_slowdown: float = 0.2
    limit_odds: float = 1.5


@dataclass(frozen=True, kw_only=True)
class Joint:
    """Failures and latency as one metric: finds a canary that gets a little worse in both."""

    name: str = "together"
    weight: float = 0.11
    mode: Mode = "act"
    pairs: tuple[tuple[int, int], ...] = ((0, 0), (1, 0), (1, 1), (0, 1))
    prior: tuple[float, ...] = (0.25, 0.25, 0.25, 0.25)


@dataclass(frozen=True, kw_only=True)
class Slo:
    """An absolute limit: at most `allowed` of the requests fail, or are slower than `threshold_ms`.

    Attributes
    ----------
    threshold_ms
        A request slower than this is bad; None counts failures instead [ms].
    allowed
        Share of bad requests that is allowed; in (0, 1) [fraction].
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
class BusinessOutcome:
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
    """Golden or mirrored requests that the canary answers differently from stable: at most `allowed` of them."""

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
        A mean that falls (or, with `larger_is_better` false, rises) by up to this much is no harm [unit of
        measure].
    tuned_for_intervals
        Number of intervals at which the bound is tightest; > 0 [count].
    """

    name: str
    weight: float = 0.05
    mode: Mode = "observe"
    tolerated_drop: float = 0.0
    larger_is_better: bool = True
    tuned_for_intervals: int = 30


Criterion = Failures | Latency | Ranks | Joint | Slo | BusinessOutcome | Answers | Mean


def check(metric: Criterion) -> None:
    """Refuse a metric that cannot be judged, naming what was expected and what was seen."""
    require(metric.mode in MODES, f"{metric.name}: mode", f"one of {MODES}", metric.mode)
    require(metric.weight > 0, f"{metric.name}: weight", "above 0", metric.weight)
    prior = getattr(metric, "prior", (1.0,))
    right = all(share > 0 for share in prior) and abs(sum(prior) - 1.0) < 1e-9
    require(
        right and len(prior) == _effects(metric),
        f"{metric.name}: prior",
        "one share per effect, sum 1",
        prior,
    )
    _check_limits(metric)


def _check_limits(metric: Criterion) -> None:
    """Refuse what is tolerated and what is a harm where they contradict each other."""
    if isinstance(metric, Failures | BusinessOutcome):
        require(metric.tolerated_odds >= 1, f"{metric.name}: tolerated_odds", "at least 1", metric.tolerated_odds)
        bound = metric.tolerated_odds
        require(min(metric.odds) > bound, f"{metric.name}: odds", "above tolerated_odds", metric.odds)
        require(metric.limit_odds > bound, f"{metric.name}: limit_odds", "above tolerated_odds", metric.limit_odds)
    if isinstance(metric, Ranks):
        require(min(metric.odds) > 1, f"{metric.name}: odds", "above 1", metric.odds)
        slow, odds = metric.limit_slowdown, metric.limit_odds
        right = slow > metric.tolerated_slowdown and odds > 1
        require(right, f"{metric.name}: limits", "above what is tolerated", (slow, odds))
    if isinstance(metric, Mean):
        require(
            metric.mode != "act",
            f"{metric.name}: mode",
            "observe or advise, as a mean is only asymptotic",
            "act",
        )
    if isinstance(metric, Slo | Answers):
        require(0 < metric.allowed < 0.9, f"{metric.name}: allowed", "within (0, 0.9)", metric.allowed)
        require(min(metric.times) > 1, f"{metric.name}: times", "above 1", metric.times)
    if isinstance(metric, Latency):
        cuts = metric.quantiles
        rising = list(cuts) == sorted(set(cuts)) and cuts[0] > 0 and cuts[-1] < 1
        require(rising, f"{metric.name}: quantiles", "rising within (0, 1)", cuts)
        require(
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


def require(right: bool, what: str, expected: str, seen: object) -> None:
    """Raise `JudgeError` unless a setting is right."""
    if not right:
        raise JudgeError(f"{what}: expected {expected}, got {seen!r}")
