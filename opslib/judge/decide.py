"""The judge: from a state, new intervals and criteria to the next state and a verdict.

From top to bottom: add the evidence of each new interval, combine it, and at the end of a stage take a look.
"""

import math
from collections.abc import Sequence
from dataclasses import replace

from opslib.errors import JudgeError
from opslib.judge.conclusion import Look, conclude, log_threshold, metric_evidence
from opslib.judge.harm.evidence import add_means, gains, log_weighted_mean, multiply, tally, tally_cohort
from opslib.judge.harm.latency import thresholds_ms
from opslib.judge.harm.outcomes import log_e_value as cohort_log_e_value
from opslib.judge.looks import explain
from opslib.judge.proof.proof import look_alpha
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.interval import Interval
from opslib.judge.values.metrics import BusinessOutcome, Latency, Slo
from opslib.judge.values.state import State
from opslib.judge.values.verdict import IntervalResult, Verdict

_EDGE_S = 1e-3  # intervals may overlap by rounding of their timestamps


def judge(  # noqa: PLR0913 - what came in, and what is known of the stage
    state: State,
    intervals: Sequence[Interval],
    criteria: Criteria,
    *,
    bake_over: bool = False,
    stops: Sequence[str] = (),
    cohorts: Sequence[Interval] = (),
    unseen: str = "",
) -> tuple[State, Verdict]:
    """Judge what came in since the last look.

    Parameters
    ----------
    state
        From `begin` or from the last call.
    intervals
        Closed intervals in any order. Those that start before the end of the last one judged are counted in
        `state.ignored` and change nothing: an interval once judged is frozen.
    criteria
        The criteria that the state was begun with.
    bake_over
        Whether the planned end of the stage has come: then the proofs are computed. A second call without new
        evidence repeats the verdict and costs nothing; one after more of it uses one of `criteria.looks`.
        A stage in which no canary request was seen holds, without a look, whatever was proven before it.
    stops
        Reasons to roll back outside statistics, one sentence each ("provisioning failed").
    cohorts
        Settled outcome cohorts (see `outcomes.settled_cohorts`); only their `outcomes` and `moments` are read.

    unseen
        Why it is unknown what was served at the end of the stage, which then is not promoted; empty where it is
        known.

    Returns
    -------
    state, verdict
        The state to keep for the next call, and what to do now.

    Raises
    ------
    JudgeError
        If the state was begun with other criteria.
    """
    if state.criteria != criteria.digest():
        raise JudgeError(
            "criteria differ from those that the state was begun with, so that its evidence does not apply: "
            "begin a new state"
        )
    lines: list[IntervalResult] = []
    for interval in sorted(intervals, key=lambda each: (each.start_s, each.source)):
        state, line = _judge_interval(state, interval, criteria)
        if line is not None:
            lines.append(line)
    for cohort in sorted(cohorts, key=lambda each: each.start_s):
        state = _judge_cohort(state, cohort, criteria)
    take_look = bake_over and state.stage_requests > 0
    state, alpha = _take_look(state, criteria) if take_look else (state, criteria.promote_alpha)
    return state, conclude(state, criteria, tuple(lines), Look(bake_over, tuple(stops), unseen, alpha))


def wanted_thresholds_ms(state: State, criteria: Criteria) -> tuple[float, ...]:
    """List the latencies at which to count both versions' requests; empty until stable's quantiles are known."""
    wanted = {metric.threshold_ms for metric in criteria.metrics if isinstance(metric, Slo) and metric.threshold_ms}
    for metric in criteria.metrics:
        if isinstance(metric, Latency) and state.reference_ms:
            wanted |= set(thresholds_ms(metric, state.reference_ms))
    return tuple(sorted(wanted))


def next_stage(state: State) -> State:
    """Return the state at the start of the next stage: evidence and sums stay, looks start at zero."""
    return replace(state, stage_looks=0, looked_at_s=None, stage_requests=0)


def _judge_interval(state: State, interval: Interval, criteria: Criteria) -> tuple[State, IntervalResult | None]:
    probes = interval.source == "probes"
    last_end_s = state.probes_end_s if probes else state.last_end_s
    if last_end_s is not None and interval.start_s < last_end_s - _EDGE_S:
        return replace(state, ignored=state.ignored + 1), None
    if not probes or criteria.probes_prove:
        state = replace(state, stage_requests=state.stage_requests + interval.canary.requests)
    if state.first_canary_s is None and interval.canary.requests > 0:
        state = replace(state, first_canary_s=interval.start_s)
    ends = {"probes_end_s" if probes else "last_end_s": interval.end_s}
    state = replace(state, **ends)  # type: ignore[arg-type]  # a key chosen among two of one type
    if state.first_canary_s is None or interval.start_s < state.first_canary_s + criteria.warm_up_s - _EDGE_S:
        return state, None
    gained = gains(criteria, state, interval)
    minutes = interval.length_s / 60.0
    bets = multiply(criteria, state.log_bets, gained, minutes)
    before = metric_evidence(state, criteria)
    state = _count(replace(state, log_bets=bets), interval, criteria)
    state = _raise_peak(state, criteria)
    after = metric_evidence(state, criteria)
    return state, explain.interval_result(criteria, state, interval, before, after, frozenset(gained))


def _count(state: State, interval: Interval, criteria: Criteria) -> State:
    """Add an interval to what the proofs use."""
    sources = {**state.sources, interval.source: state.sources.get(interval.source, 0) + 1}
    sent, changed = (sum(pair) for pair in zip(state.changed_answers, interval.canary.changed_answers, strict=True))
    state = replace(state, sources=sources, changed_answers=(sent, changed))
    if interval.source == "probes" and not criteria.probes_prove:
        return state
    state = tally(criteria, state, interval)
    return replace(state, judged=state.judged + 1, measured_s=state.measured_s + interval.length_s)


def _judge_cohort(state: State, cohort: Interval, criteria: Criteria) -> State:
    if state.cohort_end_s is not None and cohort.start_s < state.cohort_end_s - _EDGE_S:
        return replace(state, ignored=state.ignored + 1)
    watched = [metric for metric in criteria.metrics if isinstance(metric, BusinessOutcome)]
    gained = {metric.name: log_e for metric in watched if (log_e := cohort_log_e_value(metric, cohort)) is not None}
    bets = multiply(criteria, state.log_bets, gained, cohort.length_s / 60.0)
    bets = add_means(criteria, bets, cohort)
    state = replace(state, log_bets=bets, cohort_end_s=cohort.end_s, looked_at_s=None)  # new evidence costs a look
    state = tally_cohort(criteria, state, cohort)
    return _raise_peak(state, criteria)


def _raise_peak(state: State, criteria: Criteria) -> State:
    weights, evidence = criteria.acting(), metric_evidence(state, criteria)
    if not weights:
        return state
    total = log_weighted_mean(weights, evidence)
    decided = state.decided_by
    if total >= log_threshold(criteria) and not decided:
        decided = max(weights, key=lambda name: math.log(weights[name]) + evidence[name])
    return replace(state, log_peak=max(state.log_peak, total), decided_by=decided)


def _take_look(state: State, criteria: Criteria) -> tuple[State, float]:
    seen_s = max((end for end in (state.last_end_s, state.probes_end_s) if end is not None), default=None)
    if state.looked_at_s is None or state.looked_at_s != seen_s:
        state = replace(state, stage_looks=state.stage_looks + 1, looked_at_s=seen_s)
    return state, look_alpha(criteria, state.stage_looks)
