"""One look at one deployment before and after a change, where no second version serves beside it.

First enough requests, then failures and p95, each against its limit and against the time before. Failure rates are
compared by Wilson intervals, so that a handful of requests decides nothing; their coverage holds for one look only.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum
from math import sqrt
from statistics import NormalDist

from opslib.judge.values.verdict import Decision
from opslib.model import Observation, Served

CONFIDENCE = 0.99
"""Two-sided coverage of the intervals, for one look [fraction]."""


class CriterionResult(StrEnum):
    """The result of one criterion."""

    PASS = "pass"
    INCONCLUSIVE = "inconclusive"
    FAIL = "fail"


@dataclass(frozen=True)
class Measurement:
    """One criterion, its numbers and its result."""

    criterion: str
    result: CriterionResult
    reason: str
    canary: float | None = None
    stable: float | None = None
    limit: float | None = None


@dataclass(frozen=True)
class Assessment:
    """A decision and the measurements behind it."""

    decision: Decision
    reason: str
    measurements: tuple[Measurement, ...]


@dataclass(frozen=True)
class ServedLimits:
    """Limits of one look.

    `min_requests` canary requests before anything but a hold [count]; `max_failure_rate` failures per request
    [fraction]; `max_p95_ms` 95th percentile of latency [ms]; `max_p95_ratio` canary's p95 over stable's [ratio].
    """

    min_requests: int
    max_failure_rate: float
    max_p95_ms: float
    max_p95_ratio: float


def judge(
    observation: Observation, *, canary: str, stable: str | None, limits: ServedLimits, bake_over: bool
) -> Assessment:
    """Decide on one look.

    Parameters
    ----------
    observation
        What was served before and after.
    canary, stable
        Names in `observation.total`. Without `stable`, or where it served too little, only the limits are checked.
    limits
        Limits that the canary must keep.
    bake_over
        Whether the planned time has been watched to its end.

    Returns
    -------
    Assessment
        ``rollback`` as soon as one criterion fails; else ``continue`` until the bake is over; then ``promote`` if
        every criterion passed, ``hold`` otherwise. Without data the decision is ``hold``.
    """
    nothing = Served(0, 0)
    trial = observation.total.get(canary, nothing)
    control = observation.total.get(stable, nothing) if stable else nothing
    measurements = tuple(_measure(trial, control, limits))
    decision: Decision
    worst = max((m.result for m in measurements), key=_SEVERITY.index)
    if worst is CriterionResult.FAIL:
        decision = "rollback"
    elif not bake_over:
        decision = "continue"
    elif worst is CriterionResult.PASS:
        decision = "promote"
    else:
        decision = "hold"
    if worst is CriterionResult.PASS:
        return Assessment(decision, _all_passed(trial, control, canary, stable), measurements)
    binding = next(m for m in measurements if m.result is worst)
    return Assessment(decision, f"{canary} {binding.reason}", measurements)


def wilson_interval(failures: int, requests: int, confidence: float = CONFIDENCE) -> tuple[float, float]:
    """Bound a failure rate from counts.

    Parameters
    ----------
    failures
        Requests that failed; 0 <= failures <= requests [count].
    requests
        Requests served; 0 bounds nothing [count].
    confidence
        Two-sided coverage; in (0, 1) [fraction].

    Returns
    -------
    low, high
        0 <= low <= high <= 1 [fraction].

    Notes
    -----
    Source: Wilson (1927), J. Am. Stat. Assoc. 22:209-212.

    Examples
    --------
    >>> low, high = wilson_interval(2, 50, confidence=0.95)
    >>> round(low, 4), round(high, 4)
    (0.011, 0.1346)
    """
    if requests == 0:
        return 0.0, 1.0
    z = NormalDist().inv_cdf(0.5 + confidence / 2)
    rate, scale = failures / requests, 1 + z * z / requests
    middle = (rate + z * z / (2 * requests)) / scale
    half = z * sqrt(rate * (1 - rate) / requests + z * z / (4 * requests * requests)) / scale
    return max(0.0, middle - half), min(1.0, middle + half)


def _measure(trial: Served, control: Served, limits: ServedLimits) -> Iterator[Measurement]:
    yield _requests(trial, limits)
    if trial.requests:
        yield _failure_rate(trial, limits)
        yield _p95(trial, limits)
    if trial.requests and control.requests >= limits.min_requests:
        yield _failure_rate_against_before(trial, control)
        yield _p95_against_before(trial, control, limits)


def _requests(trial: Served, limits: ServedLimits) -> Measurement:
    enough = trial.requests >= limits.min_requests
    return Measurement(
        criterion="requests",
        result=CriterionResult.PASS if enough else CriterionResult.INCONCLUSIVE,
        reason=f"served {trial.requests} requests, {limits.min_requests} are needed",
        canary=trial.requests,
        limit=limits.min_requests,
    )


def _failure_rate(trial: Served, limits: ServedLimits) -> Measurement:
    rate = trial.failures / trial.requests
    low, high = wilson_interval(trial.failures, trial.requests)
    within = CriterionResult.PASS if rate <= limits.max_failure_rate else CriterionResult.INCONCLUSIVE
    result = CriterionResult.FAIL if low > limits.max_failure_rate else within
    return Measurement(
        criterion="failure rate",
        result=result,
        reason=f"failed {trial.failures} of {trial.requests} requests, {rate:.2%} "
        f"({low:.2%} to {high:.2%}); the limit is {limits.max_failure_rate:.2%}",
        canary=rate,
        limit=limits.max_failure_rate,
    )


def _failure_rate_against_before(trial: Served, control: Served) -> Measurement:
    rate, control_rate = trial.failures / trial.requests, control.failures / control.requests
    low, _ = wilson_interval(trial.failures, trial.requests)
    _, control_high = wilson_interval(control.failures, control.requests)
    within = CriterionResult.PASS if rate <= control_high else CriterionResult.INCONCLUSIVE
    result = CriterionResult.FAIL if low > control_high else within
    return Measurement(
        criterion="failure rate against before",
        result=result,
        reason=f"failed {trial.failures} of {trial.requests} requests, {rate:.2%} (at least {low:.2%}); "
        f"before {control.failures} of {control.requests}, {control_rate:.2%} (at most {control_high:.2%})",
        canary=rate,
        stable=control_rate,
    )


def _p95(trial: Served, limits: ServedLimits) -> Measurement:
    return _latency("p95", trial, limits.max_p95_ms, limits, stable_ms=None)


def _p95_against_before(trial: Served, control: Served, limits: ServedLimits) -> Measurement:
    limit_ms = None if control.p95_ms is None else control.p95_ms * limits.max_p95_ratio
    return _latency("p95 against before", trial, limit_ms, limits, stable_ms=control.p95_ms)


def _latency(
    criterion: str, trial: Served, limit_ms: float | None, limits: ServedLimits, *, stable_ms: float | None
) -> Measurement:
    """Compare the canary's p95 with its limit; below `min_requests` the result is inconclusive."""
    p95_ms = trial.p95_ms
    if p95_ms is None or limit_ms is None:
        return Measurement(
            criterion, CriterionResult.INCONCLUSIVE, "latency was not reported", p95_ms, stable_ms, limit_ms
        )
    if trial.requests < limits.min_requests:
        result = CriterionResult.INCONCLUSIVE
    else:
        result = CriterionResult.PASS if p95_ms <= limit_ms else CriterionResult.FAIL
    compared = "" if stable_ms is None else f" ({limits.max_p95_ratio:g} x the {stable_ms:.0f} ms before)"
    reason = f"has a p95 of {p95_ms:.0f} ms; the limit is {limit_ms:.0f} ms{compared}"
    return Measurement(criterion, result, reason, p95_ms, stable_ms, limit_ms)


_SEVERITY = (CriterionResult.PASS, CriterionResult.INCONCLUSIVE, CriterionResult.FAIL)


def _all_passed(trial: Served, control: Served, canary: str, stable: str | None) -> str:
    compared = f"; {_summary(control, stable or '')}" if control.requests else ""
    return f"{_summary(trial, canary)}{compared}"


def _summary(served: Served, name: str) -> str:
    p95 = "" if served.p95_ms is None else f", p95 {served.p95_ms:.0f} ms"
    return f"{name} failed {served.failures} of {served.requests} requests{p95}"
