"""Sentences for people, and the numbers that a plot needs."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from opslib.judge.harm import slo
from opslib.judge.harm.evidence import log_weighted_mean, tally_key
from opslib.judge.harm.latency import count_above, stretched
from opslib.judge.looks.bounds import rate_bounds
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.interval import Interval
from opslib.judge.values.metrics import Answers, BusinessOutcome, Criterion, Failures, Joint, Latency, Slo
from opslib.judge.values.noninferiority import Tally
from opslib.judge.values.state import State
from opslib.judge.values.verdict import IntervalResult, MetricResult, Proof, Verdict


def line(
    criteria: Criteria,
    state: State,
    interval: Interval,
    before: Mapping[str, float],
    after: Mapping[str, float],
    known: frozenset[str],
) -> IntervalResult:
    """Describe one judged interval: counts, what each metric gained, and one sentence."""
    rows: list[MetricResult] = []
    for metric in criteria.metrics:
        mine, other = counts(metric, state, interval)
        rows.append(
            MetricResult(
                name=metric.name,
                mode=metric.mode,
                canary_bad=mine[0],
                canary_n=mine[1],
                stable_bad=other[0],
                stable_n=other[1],
                log_gain=after[metric.name] - before[metric.name],
                log_evidence=after[metric.name],
                known=metric.name in known,
            )
        )
    weights = criteria.acting()
    total = log_weighted_mean(weights, after) if weights else 0.0
    loudest = max(rows, key=lambda row: row.log_evidence)
    text = (
        f"{loudest.name}: canary {_share(loudest.canary_bad, loudest.canary_n)}, "
        f"stable {_share(loudest.stable_bad, loudest.stable_n)}; "
        f"harm is now {times(total)} as likely as none, {times(-math.log(criteria.alpha))} rolls back"
    )
    return IntervalResult(
        start_s=interval.start_s,
        length_s=interval.length_s,
        weight=interval.weight,
        source=interval.source,
        log_evidence=total,
        log_threshold=-math.log(criteria.alpha),
        metrics=tuple(rows),
        sentence=text,
    )


def counts(metric: Criterion, state: State, interval: Interval) -> tuple[tuple[int, int], tuple[int, int]]:
    """Give (bad, all) requests of the canary and of stable that a metric is about in one interval [count]."""
    mine, other = interval.canary, interval.stable
    if isinstance(metric, Failures | Joint):
        return (mine.failures, mine.requests), (other.failures, other.requests)
    if isinstance(metric, Answers):
        return (mine.changed_answers[1], mine.changed_answers[0]), (0, 0)
    if isinstance(metric, Slo):
        pair = slo.bad_requests(metric, mine), slo.bad_requests(metric, other)
        return pair[0] or (0, 0), pair[1] or (0, 0)
    if isinstance(metric, Latency) and state.reference_ms:
        cut = state.reference_ms[_headline(metric)]
        slow = count_above(mine, stretched(cut, 1.0 + metric.tolerated_slowdown))
        stable_slow = count_above(other, cut)
        return (slow or 0, 0 if slow is None else mine.latency_n), (stable_slow or 0, other.latency_n)
    return (0, 0), (0, 0)


def unproven(proof: Proof) -> str:
    """Say what is not shown yet, and what would show it."""
    if proof.canary_n == 0:
        return f"{proof.metric}: no data, which is never success"
    more = (
        "more traffic alone will not show it"
        if proof.more_requests is None
        else (
            f"about {proof.more_requests:,} more canary requests would show it if the canary is as good as stable"
        )
    )
    return (
        f"not shown that {proof.claim}: canary {100 * proof.canary_share:.3g} % of "
        f"{proof.canary_n:,}, stable {100 * proof.stable_share:.3g} %, must be below {100 * proof.bound:.3g} % "
        f"(p = {proof.p:.2g}, {proof.alpha:.2g} needed); {more}"
    )


def waiting(minutes: float) -> str:
    """How much longer it takes, in whole minutes; of less than one it says so."""
    if minutes <= 1.0:
        return "less than a minute more decides it"
    return f"about {math.ceil(minutes)} more minutes decide it"


def conclusion(verdict: Verdict, state: State, criteria: Criteria, stops: Sequence[str]) -> str:
    """Say the outcome with the metric, both numbers, the confidence, and what would have changed it."""
    if stops:
        return f"Roll back: {stops[0]}."
    if verdict.outcome == "rollback":
        return _rollback(verdict, state, criteria)
    if verdict.outcome == "continue":
        return (
            f"Continue: harm is {times(verdict.log_evidence)} as likely as none, "
            f"{times(verdict.log_threshold)} rolls back; the bake is not over."
        )
    if verdict.outcome == "hold":
        minutes = verdict.more_minutes
        wait = "" if minutes is None else f" {waiting(minutes).capitalize()} at this traffic."
        return f"Hold: {verdict.reasons[0]}.{wait}"
    shown = "; ".join(
        f"{p.claim} ({100 * p.canary_share:.3g} % of the canary's {p.canary_n:,})" for p in verdict.proofs
    )
    closest = max(verdict.proofs, key=lambda p: p.p, default=None)
    tight = "" if closest is None else f" Closest to its limit: {closest.metric}, p = {closest.p:.2g}."
    return f"Promote: shown at {100 * (1 - (closest.alpha if closest else 0)):.4g} % each: {shown}.{tight}"


def basis(state: State) -> str:
    """Say what was judged from, and what that costs in power (measured by the benchmark in `tests/benchmarks`)."""
    costs = {
        "request log": "every request counted exactly",
        "metrics": "four percentiles each: slowdowns are found about a minute later, and beside a gap between two "
        "modes of latency nothing is proven",
        "probes": "own probes, paired: exact, but only for the questions asked",
    }
    told = [f"{count} intervals of {source} ({costs[source]})" for source, count in sorted(state.sources.items())]
    return "Judged from " + ("; ".join(told) if told else "nothing yet")


def _rollback(verdict: Verdict, state: State, criteria: Criteria) -> str:
    metric = next(each for each in criteria.metrics if each.name == state.decided_by)
    text = (
        f"Roll back: {metric.name}. Harm is {times(verdict.log_peak)} as likely as none; "
        f"{times(verdict.log_threshold)} decides, which a canary within every tolerance ever reaches "
        f"with probability {100 * criteria.alpha:g} % at most."
    )
    sums = _headline_tally(metric, state)
    if sums is None or sums.canary_n == 0:
        return text
    excess = verdict.log_peak - verdict.log_threshold
    mine, other = sums.canary_bad / sums.canary_n, sums.stable_bad / max(sums.stable_n, 1.0)
    lift = max(math.log(max(mine, 1e-9) / max(other, 1e-9)), 0.1)
    fewer = min(int(sums.canary_bad), math.floor(excess / lift) + 1)
    return (
        f"{text} Of the canary's {int(sums.canary_n):,} requests {100 * mine:.3g} % {_bad(metric, state)}, "
        f"of stable's {int(sums.stable_n):,} {100 * other:.3g} %. "
        f"About {fewer} fewer of the canary's {int(sums.canary_bad)} and it would have gone on."
    )


def _headline_tally(metric: Criterion, state: State) -> Tally | None:
    if isinstance(metric, Latency):
        return state.tallies.get(_worst_key(metric, state))
    if isinstance(metric, Joint):
        return next((sums for name, sums in state.tallies.items() if ":" not in name), None)
    return state.tallies.get(metric.name)


def _worst_key(metric: Latency, state: State) -> str:
    """Name the latency tally in which the canary stands out most, in standard deviations."""

    def excess(name: str) -> float:
        sums = state.tallies.get(name, Tally())
        share = (sums.canary_bad + sums.stable_bad) / max(sums.canary_n + sums.stable_n, 1.0)
        return (sums.canary_bad - share * sums.canary_n) / math.sqrt(max(share * (1 - share) * sums.canary_n, 1.0))

    return max((tally_key(metric, quantile, slow, "odds") for quantile, slow in metric.proofs), key=excess)


def _bad(metric: Criterion, state: State) -> str:
    """Say what makes a request of a metric bad."""
    if isinstance(metric, Latency):
        worst = _worst_key(metric, state)
        rows = dict(zip(metric.quantiles, state.reference_ms, strict=True))
        cut = next((rows[q] for q, slow in metric.proofs if tally_key(metric, q, slow, "odds") == worst), 0.0)
        return f"were slower than {cut:,.0f} ms"
    if isinstance(metric, Slo) and metric.threshold_ms is not None:
        return f"were slower than {metric.threshold_ms:,.0f} ms"
    return "were bad" if isinstance(metric, BusinessOutcome) else "failed"


@dataclass(frozen=True, kw_only=True)
class Series:
    """Columns for the plot, one entry per judged interval.

    Attributes
    ----------
    end_minutes
        End of each interval since the first one began [minutes].
    evidence, threshold
        How many times likelier harm is than none (log axis), and where it decides.
    metrics
        Per metric: its evidence, both cumulative shares, and bounds on them that hold at all times at once
        [fraction].
    weights
        Weight of the canary; a step is a stage boundary [percent].
    """

    end_minutes: tuple[float, ...]
    evidence: tuple[float, ...]
    threshold: float
    metrics: Mapping[str, Mapping[str, tuple[float, ...]]]
    weights: tuple[float, ...]


def series(lines: Sequence[IntervalResult]) -> Series:
    """Turn journal lines into the plot's columns; evidence is cut at 1e12, shares are nan without requests."""
    metrics: dict[str, dict[str, tuple[float, ...]]] = {}
    users = [each.source != "probes" for each in lines]  # own probes weigh, and are no share of users' requests
    for i, first in enumerate(lines[0].metrics if lines else ()):
        rows = [each.metrics[i] for each in lines]
        columns = {"evidence": tuple(_cut(row.log_evidence) for row in rows)}
        for arm in ("canary", "stable"):
            bad = np.cumsum([getattr(row, f"{arm}_bad") * user for row, user in zip(rows, users, strict=True)])
            n = np.cumsum([getattr(row, f"{arm}_n") * user for row, user in zip(rows, users, strict=True)])
            both = [rate_bounds(int(b), int(size)) for b, size in zip(bad, n, strict=True)]
            columns[f"{arm}_share"] = tuple(
                float(b / size) if size else math.nan for b, size in zip(bad, n, strict=True)
            )
            columns[f"{arm}_low"], columns[f"{arm}_high"] = (
                tuple(b[0] for b in both),
                tuple(b[1] for b in both),
            )
        metrics[first.name] = columns
    return Series(
        end_minutes=tuple((each.start_s + each.length_s - lines[0].start_s) / 60.0 for each in lines),
        evidence=tuple(_cut(each.log_evidence) for each in lines),
        threshold=math.exp(lines[0].log_threshold) if lines else math.nan,
        metrics=metrics,
        weights=tuple(each.weight for each in lines),
    )


def times(log_value: float) -> str:
    """Write a likelihood ratio for people: 0.3 times, 20 times, over a million times."""
    if log_value > math.log(1e6):
        return "over a million times"
    value = math.exp(log_value)
    return f"{value:.2g} times" if value < 10 else f"{value:,.0f} times"


def _cut(log_value: float) -> float:
    return math.exp(min(log_value, math.log(1e12)))


def _share(bad: int, n: int) -> str:
    return "no requests" if n == 0 else f"{bad:,} of {n:,} ({100 * bad / n:.3g} %)"


def _headline(metric: Latency) -> int:
    return metric.quantiles.index(0.95) if 0.95 in metric.quantiles else len(metric.quantiles) - 1
