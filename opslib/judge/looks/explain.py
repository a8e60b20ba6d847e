"""Sentences for people: the decision, its counts, the evidence and its limit, and what would have changed it."""

import math
from collections.abc import Mapping, Sequence

from opslib.judge.harm import means, slo
from opslib.judge.harm.evidence import log_weighted_mean, tally_key
from opslib.judge.harm.latency import count_above, stretched
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.interval import Interval
from opslib.judge.values.metrics import Answers, BusinessOutcome, Criterion, Failures, Joint, Latency, Mean, Slo
from opslib.judge.values.noninferiority import Tally
from opslib.judge.values.state import State
from opslib.judge.values.verdict import IntervalResult, MetricResult, Proof, Verdict
from opslib.model.text import bounded_share, e_value, k_of_n, percent


def interval_result(
    criteria: Criteria,
    state: State,
    interval: Interval,
    before: Mapping[str, float],
    after: Mapping[str, float],
    known: frozenset[str],
) -> IntervalResult:
    """Describe one judged interval: counts, what each metric gained, and one sentence.

    Parameters
    ----------
    criteria, state, interval
        What is judged, the state after the interval, and the interval.
    before, after
        Log evidence per metric before the interval and after it.
    known
        Metrics about which the interval has data.
    """
    rows = [
        _metric_result(metric, state, interval, before[metric.name], after[metric.name], known=metric.name in known)
        for metric in criteria.metrics
    ]
    weights = criteria.acting()
    total, limit = log_weighted_mean(weights, after) if weights else 0.0, -math.log(criteria.alpha)
    highest = max(range(len(rows)), key=lambda index: rows[index].log_evidence)
    row = rows[highest]
    text = (
        f"{label(criteria.metrics[highest])}: canary {_counts(row.canary_bad, row.canary_n)}, "
        f"stable {_counts(row.stable_bad, row.stable_n)}; evidence of harm {e_value(total)} "
        f"(rolls back at {e_value(limit)})"
    )
    return IntervalResult(
        start_s=interval.start_s,
        length_s=interval.length_s,
        weight=interval.weight,
        source=interval.source,
        log_evidence=total,
        log_threshold=limit,
        metrics=tuple(rows),
        sentence=text,
    )


def _metric_result(
    metric: Criterion, state: State, interval: Interval, before: float, after: float, *, known: bool
) -> MetricResult:
    """Describe what one metric gained; `before` and `after` are its log evidence."""
    mine, other = counts(metric, state, interval)
    return MetricResult(
        name=metric.name,
        mode=metric.mode,
        canary_bad=mine[0],
        canary_n=mine[1],
        stable_bad=other[0],
        stable_n=other[1],
        log_gain=after - before,
        log_evidence=after,
        known=known,
        asymptotic=isinstance(metric, Mean),
    )


def label(metric: Criterion) -> str:
    """Name a metric for people; evidence of a mean is marked as asymptotic."""
    if isinstance(metric, Joint):
        return "failures and latency together"
    return f"{metric.name} ({means.LABEL})" if isinstance(metric, Mean) else metric.name


def counts(metric: Criterion, state: State, interval: Interval) -> tuple[tuple[int, int], tuple[int, int]]:
    """Return (bad, all) requests of the canary and of stable that a metric is about in one interval [count]."""
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
    """Describe what is not proven yet, and what would prove it."""
    if proof.canary_n == 0:
        return f"{proof.metric}: no data, so nothing is proven"
    more = (
        "more traffic alone will not show it"
        if proof.more_requests is None
        else f"about {proof.more_requests:,} more canary requests would show it if the canary is as good as stable"
    )
    return f"{proof.claim} not shown: {shown(proof)}; {more}"


def shown(proof: Proof) -> str:
    """Describe what was counted, with the upper confidence bound and the limit, and stable beside it."""
    stable = f", {k_of_n(proof.stable_bad, proof.stable_n)} on stable" if proof.stable_n else ""
    return f"{bounded_share((proof.canary_bad, proof.canary_n), proof.counted, proof.upper, proof.bound)}{stable}"


def waiting(minutes: float) -> str:
    """Describe how much longer it is expected to take, in whole minutes."""
    if minutes <= 1.0:
        return "about a minute more is expected to decide it"
    return f"about {math.ceil(minutes)} more minutes are expected to decide it"


def conclusion(verdict: Verdict, state: State, criteria: Criteria, stops: Sequence[str]) -> str:
    """Describe the decision with its counts, the evidence and its limit, and what would have changed it."""
    if stops:
        return f"Roll back: {stops[0]}."
    if verdict.outcome == "rollback":
        return _rollback(verdict, state, criteria)
    evidence = f"evidence of harm {e_value(verdict.log_evidence)} (rolls back at {e_value(verdict.log_threshold)})"
    if verdict.outcome == "continue":
        return f"Continue: {evidence}, bake not over."
    if verdict.outcome == "hold":
        minutes = verdict.more_minutes
        wait = "" if minutes is None else f" {waiting(minutes).capitalize()} at this traffic."
        return f"Hold: {verdict.reasons[0]}.{wait}"
    return f"Promote: {_proven(verdict.proofs)}{evidence.capitalize()}."


def _proven(proofs: Sequence[Proof]) -> str:
    if not proofs:
        return ""
    closest = max(proofs, key=lambda proof: proof.p)
    text = "; ".join(f"{proof.claim}: {shown(proof)}" for proof in proofs)
    confidence = f"{'Each shown' if len(proofs) > 1 else 'Shown'} at {percent(1 - closest.alpha)} confidence"
    return f"{text}. {confidence}; closest to its limit: {closest.claim}. "


def basis(state: State) -> str:
    """Name the sources, and what each costs in power (measured by the benchmark in `tests/benchmarks`)."""
    costs = {
        "request log": "every request counted exactly",
        "metrics": "four percentiles each: slowdowns are found about a minute later, and less is proven where a "
        "percentile lies in a gap between two modes of latency",
        "probes": "own probes, paired: exact, but only for the requests that they send",
    }
    rows = [f"{count} intervals of {source} ({costs[source]})" for source, count in sorted(state.sources.items())]
    return "Judged from " + ("; ".join(rows) if rows else "nothing yet")


def _rollback(verdict: Verdict, state: State, criteria: Criteria) -> str:
    metric = next(each for each in criteria.metrics if each.name == state.decided_by)
    evidence = f"Evidence of harm {e_value(verdict.log_peak)}, limit {e_value(verdict.log_threshold)}."
    if isinstance(metric, Answers):
        sent, differ = state.changed_answers
        share = f"{k_of_n(differ, sent)} answers differ from stable's, {percent(metric.allowed)} allowed"
        return f"Roll back: {label(metric)}. {share}. {evidence}"
    sums = _headline_tally(metric, state)
    if sums is None or sums.canary_n == 0:
        return f"Roll back: {label(metric)}. {evidence}"
    excess = verdict.log_peak - verdict.log_threshold
    mine, other = sums.canary_bad / sums.canary_n, sums.stable_bad / max(sums.stable_n, 1.0)
    lift = max(math.log(max(mine, 1e-9) / max(other, 1e-9)), 0.1)
    fewer = math.floor(excess / lift) + 1
    bad, noun = _bad(metric, state)
    share = f" ({percent(mine)})" if sums.canary_bad else ""
    less = f"About one {noun} fewer" if fewer == 1 else f"About {fewer:,} {noun}s fewer"
    changed = f" {less} and it would have continued." if fewer <= sums.canary_bad else ""
    return (
        f"Roll back: {label(metric)}. {sums.canary_bad:,.0f} of {sums.canary_n:,.0f} canary requests {bad}{share}, "
        f"{k_of_n(sums.stable_bad, sums.stable_n)} on stable. {evidence}{changed}"
    )


def _headline_tally(metric: Criterion, state: State) -> Tally | None:
    if isinstance(metric, Latency):
        return state.tallies.get(_worst_key(metric, state))
    if isinstance(metric, Joint):
        return next((sums for name, sums in state.tallies.items() if ":" not in name), None)
    return state.tallies.get(metric.name)


def _worst_key(metric: Latency, state: State) -> str:
    """Name the latency tally in which the canary is furthest from stable, in standard deviations."""

    def excess(name: str) -> float:
        sums = state.tallies.get(name, Tally())
        share = (sums.canary_bad + sums.stable_bad) / max(sums.canary_n + sums.stable_n, 1.0)
        return (sums.canary_bad - share * sums.canary_n) / math.sqrt(max(share * (1 - share) * sums.canary_n, 1.0))

    return max((tally_key(metric, quantile, slow, "odds") for quantile, slow in metric.proofs), key=excess)


def _bad(metric: Criterion, state: State) -> tuple[str, str]:
    """Return what a bad request of a metric did, and what it is called."""
    if isinstance(metric, Latency):
        worst = _worst_key(metric, state)
        rows = dict(zip(metric.quantiles, state.reference_ms, strict=True))
        cut = next((rows[q] for q, slow in metric.proofs if tally_key(metric, q, slow, "odds") == worst), 0.0)
        return f"were slower than {cut:,.0f} ms", "slow request"
    if isinstance(metric, Slo) and metric.threshold_ms is not None:
        return f"were slower than {metric.threshold_ms:,.0f} ms", "slow request"
    return ("had a bad outcome", "bad outcome") if isinstance(metric, BusinessOutcome) else ("failed", "failure")


def _counts(bad: int, n: int) -> str:
    return "no requests" if n == 0 else k_of_n(bad, n)


def _headline(metric: Latency) -> int:
    return metric.quantiles.index(0.95) if 0.95 in metric.quantiles else len(metric.quantiles) - 1
