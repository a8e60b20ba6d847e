"""The look at the end of a stage: which proofs are in, which is missing and what it would take."""

from __future__ import annotations

import math
from dataclasses import replace

from opslib.judge.harm.evidence import tally_key
from opslib.judge.harm.latency import distrusted
from opslib.judge.harm.ranks import prove_ranks
from opslib.judge.proof.power import requests_to_prove
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.metrics import BusinessOutcome, Failures, Latency, Ranks
from opslib.judge.values.noninferiority import Tally, p_odds, prove_failures, prove_latency
from opslib.judge.values.state import State
from opslib.judge.values.verdict import Proof


def look_alpha(criteria: Criteria, look: int) -> float:
    """Give the level of one look at the end of a stage; the levels of all planned looks sum to `promote_alpha`.

    The first look gets six tenths if more are planned, all of it if not; a look beyond the plan gets nothing.
    (Passing several stages needs no correction: a harmful canary would have to pass every one.)
    """
    if look > criteria.looks:
        return 0.0
    if criteria.looks == 1:
        return criteria.promote_alpha
    return criteria.promote_alpha * (0.6 if look == 1 else 0.4 / (criteria.looks - 1))


def proofs(criteria: Criteria, state: State, alpha: float) -> tuple[Proof, ...]:
    """Answer every question that promotion asks of the metrics that act; `p` is 1 where there is no data."""
    found: list[Proof] = []
    for metric in criteria.metrics:
        if metric.mode != "act":
            continue
        if isinstance(metric, Failures):
            found.append(_failures(metric, state.tallies.get(metric.name, Tally()), alpha))
        elif isinstance(metric, Latency):
            found.extend(_latency(metric, state, quantile, slow, alpha) for quantile, slow in metric.proofs)
        elif isinstance(metric, Ranks):
            found.append(_ranks(metric, state, (metric.quantile, metric.limit_slowdown), alpha))
        elif isinstance(metric, BusinessOutcome):
            found.append(_outcome(metric, state.tallies.get(metric.name, Tally()), alpha))
    return tuple(found)


def _failures(metric: Failures, tally: Tally, alpha: float) -> Proof:
    p, by_rate = prove_failures(tally, metric.limit_odds, metric.limit_rate)
    stable = tally.stable_bad / max(tally.stable_n, 1.0)
    bound = metric.limit_rate if by_rate else _odds_share(stable, metric.limit_odds)
    limit = f"{100 * metric.limit_rate:g} %" if by_rate else f"{metric.limit_odds:g} times stable's odds"
    text = f"{metric.name} are below {limit}"
    return _proof((metric.name, text), float(p), alpha, tally, stable, bound)


def _latency(metric: Latency, state: State, quantile: float, slow: float, alpha: float) -> Proof:
    scale_name = tally_key(metric, quantile, slow, "scale")
    scale = state.tallies.get(scale_name, Tally())
    odds = state.tallies.get(tally_key(metric, quantile, slow, "odds"), Tally())
    far = state.slow_stable.get(scale_name, 0.0)
    if tally_key(metric, quantile, slow, "ranks odds") in state.tallies and _in_gap(metric, state, quantile):
        return _ranks(metric, state, (quantile, slow), alpha)
    label = _slower(metric, quantile, slow)
    if scale.canary_n == 0 or scale.stable_n == 0:
        return _proof((metric.name, label), 1.0, alpha, scale, 0.0, 0.0)
    p, by_scale = prove_latency(scale, odds, far, metric.limit_odds)
    near = scale.stable_bad / max(scale.stable_n, 1.0)
    if by_scale:
        return _proof((metric.name, label), float(p), alpha, scale, far / max(scale.stable_n, 1.0), near)
    label = f"requests slower than stable's p{100 * quantile:g} are below {metric.limit_odds:g} times its odds"
    return _proof((metric.name, label), float(p), alpha, odds, near, _odds_share(near, metric.limit_odds))


def _in_gap(metric: Latency, state: State, quantile: float) -> bool:
    dropped = distrusted(metric, state.reference_ms, state.dispersion)
    return bool(dropped[metric.quantiles.index(quantile)])


def _ranks(metric: Latency | Ranks, state: State, at: tuple[float, float], alpha: float) -> Proof:
    """Ask the ranks of published percentiles; what it counts are intervals in which the canary's was the higher."""
    scale, odds = (
        state.tallies.get(tally_key(metric, *at, f"ranks {kind}"), Tally()) for kind in ("scale", "odds")
    )
    p, by_scale = prove_ranks(scale, odds, state.slow_stable.get(tally_key(metric, *at, "ranks scale"), 0.0))
    shown = (
        _slower(metric, *at) if by_scale else f"{metric.name} at p{100 * at[0]:g} is above stable's only by chance"
    )
    label = f"{shown} (share of intervals in which it was)"
    asked = scale if by_scale else odds
    intervals = max(asked.canary_n, 1.0)
    equal = 0.0 if by_scale else asked.stable_bad / intervals
    proof = _proof((metric.name, label), float(p), alpha, asked, equal, asked.expected / intervals)
    if proof.more_requests is None:
        return proof
    requests = max(sums.canary_n for sums in state.tallies.values())
    return replace(proof, more_requests=math.ceil(proof.more_requests / intervals * requests))


def _slower(metric: Latency | Ranks, quantile: float, slow: float) -> str:
    return f"{metric.name} at p{100 * quantile:g} is less than {100 * slow:g} % above stable's"


def _outcome(metric: BusinessOutcome, tally: Tally, alpha: float) -> Proof:
    stable = tally.stable_bad / max(tally.stable_n, 1.0)
    text = f"{metric.name} is below {metric.limit_odds:g} times stable's odds"
    p = float(p_odds(tally)) if tally.canary_n else 1.0
    return _proof((metric.name, text), p, alpha, tally, stable, _odds_share(stable, metric.limit_odds))


def _proof(question: tuple[str, str], p: float, alpha: float, tally: Tally, stable: float, bound: float) -> Proof:
    more = _more_requests(tally, stable, bound, alpha) if p > alpha > 0 and bound > stable else None
    return Proof(
        metric=question[0],
        claim=question[1],
        p=p,
        alpha=alpha,
        canary_share=tally.canary_bad / max(tally.canary_n, 1.0),
        stable_share=stable,
        bound=bound,
        canary_n=int(tally.canary_n),
        more_requests=more,
    )


def _more_requests(tally: Tally, stable: float, bound: float, alpha: float) -> int:
    """Requests still to come, in steps of a quarter, if from now on the canary is as good as stable [count].

    What it did so far stays in the sums: a canary that began badly must first make up for it.
    """
    more = 1.0
    for _ in range(100):
        requests = tally.canary_n + more
        share = (tally.canary_bad + more * stable) / requests
        if share < bound and requests_to_prove(share, bound, alpha) <= requests:
            break
        more *= 1.25
    return math.ceil(more)


def _odds_share(share: float, odds: float) -> float:
    return odds * share / (1.0 + (odds - 1.0) * share)
