"""The proofs at the end of a stage: which hold, which do not, and what they would take."""

import math
from dataclasses import dataclass, replace

from opslib.judge.harm.evidence import tally_key
from opslib.judge.harm.latency import distrusted
from opslib.judge.harm.ranks import prove_ranks
from opslib.judge.proof.power import requests_to_prove
from opslib.judge.proof.upper_bounds import chance_upper, odds_upper, rate_upper
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.metrics import BusinessOutcome, Failures, Latency, Ranks
from opslib.judge.values.noninferiority import (
    Tally,
    level_shares,
    p_odds,
    prove_failures,
    prove_latency,
    share_at_odds,
)
from opslib.judge.values.state import State
from opslib.judge.values.verdict import Proof
from opslib.model.text import percent


def look_alpha(criteria: Criteria, look: int) -> float:
    """Return the level of one look at the end of a stage; the levels of all planned looks sum to `promote_alpha`.

    The first look gets six tenths if more are planned, all of it if not; a look beyond the plan gets nothing.
    (Passing several stages needs no correction: a harmful canary would have to pass every one.)
    """
    if look > criteria.looks:
        return 0.0
    if criteria.looks == 1:
        return criteria.promote_alpha
    return criteria.promote_alpha * (0.6 if look == 1 else 0.4 / (criteria.looks - 1))


def proofs(criteria: Criteria, state: State, alpha: float) -> tuple[Proof, ...]:
    """Return the proofs of every metric in mode "act"; `p` is 1 where there is no data."""
    found: list[Proof] = []
    for metric in criteria.metrics:
        if metric.mode != "act":
            continue
        if isinstance(metric, Failures):
            found.append(_failures(metric, state.tallies.get(metric.name, Tally()), alpha))
        elif isinstance(metric, Latency):
            found.extend(_latency(metric, state, (quantile, slow), alpha) for quantile, slow in metric.proofs)
        elif isinstance(metric, Ranks):
            found.append(_ranks(metric, state, (metric.quantile, metric.limit_slowdown), alpha))
        elif isinstance(metric, BusinessOutcome):
            found.append(_outcome(metric, state.tallies.get(metric.name, Tally()), alpha))
    return tuple(found)


@dataclass(frozen=True)
class _Claim:
    """What a proof is to show, and what it counts, for people."""

    metric: str
    text: str
    counted: str


def _failures(metric: Failures, tally: Tally, alpha: float) -> Proof:
    p, by_rate = prove_failures(tally, metric.limit_odds, metric.limit_rate)
    level, stable = level_shares(tally, metric.limit_odds, metric.limit_rate), _stable_share(tally)
    left = alpha - float(level.misled)
    if by_rate:
        claim = _Claim(metric.name, f"{metric.name} below {percent(metric.limit_rate)}", "canary requests failed")
        upper, bound = rate_upper(tally, left * float(level.rate)), metric.limit_rate
    else:
        text = f"{metric.name} below {metric.limit_odds:g} x stable's odds"
        claim = _Claim(metric.name, text, "canary requests failed")
        upper = _share_upper(tally, metric.limit_odds, left * float(level.odds))
        bound = float(share_at_odds(stable, metric.limit_odds))
    return _proof(claim, float(p), alpha, tally, (stable, bound, upper))


def _latency(metric: Latency, state: State, at: tuple[float, float], alpha: float) -> Proof:
    quantile, slow = at
    key = tally_key(metric, quantile, slow, "scale")
    scale = state.tallies.get(key, Tally())
    odds = state.tallies.get(tally_key(metric, quantile, slow, "odds"), Tally())
    if tally_key(metric, quantile, slow, "ranks odds") in state.tallies and _in_gap(metric, state, quantile):
        return _ranks(metric, state, at, alpha)
    claim = _Claim(metric.name, _within(*at), f"canary requests exceed {1 + slow:g} x stable's {_level(quantile)}")
    if scale.canary_n == 0 or scale.stable_n == 0:
        return _proof(claim, 1.0, alpha, scale, (0.0, 0.0, None))
    slow_stable, near = state.slow_stable.get(key, 0.0), _stable_share(scale)
    p, by_scale = prove_latency(scale, odds, slow_stable, metric.limit_odds)
    if by_scale:
        shares = slow_stable / max(scale.stable_n, 1.0), near, _share_upper(scale, 1.0, alpha)
        return _proof(claim, float(p), alpha, scale, shares)
    text = f"requests above stable's {_level(quantile)} below {metric.limit_odds:g} x its odds"
    claim = _Claim(metric.name, text, f"canary requests exceed stable's {_level(quantile)}")
    bound = float(share_at_odds(near, metric.limit_odds))
    return _proof(claim, float(p), alpha, odds, (near, bound, _share_upper(odds, metric.limit_odds, alpha)))


def _in_gap(metric: Latency, state: State, quantile: float) -> bool:
    dropped = distrusted(metric, state.reference_ms, state.dispersion)
    return bool(dropped[metric.quantiles.index(quantile)])


def _ranks(metric: Latency | Ranks, state: State, at: tuple[float, float], alpha: float) -> Proof:
    """Prove by the ranks of published percentiles; the counts are intervals in which the canary's was higher."""
    scale, odds = (
        state.tallies.get(tally_key(metric, *at, f"ranks {kind}"), Tally()) for kind in ("scale", "odds")
    )
    p, by_scale = prove_ranks(scale, odds, state.slow_stable.get(tally_key(metric, *at, "ranks scale"), 0.0))
    level = _level(at[0])
    higher = f"intervals had the canary's {level} above"
    claim = (
        _Claim(metric.name, _within(*at), f"{higher} {1 + at[1]:g} x stable's")
        if by_scale
        else _Claim(metric.name, f"{level} above stable's by chance only", f"{higher} stable's")
    )
    tally = scale if by_scale else odds
    intervals = max(tally.canary_n, 1.0)
    equal = 0.0 if by_scale else tally.stable_bad / intervals
    shares = equal, tally.expected / intervals, chance_upper(tally, alpha)
    proof = replace(_proof(claim, float(p), alpha, tally, shares), stable_n=0)
    if proof.more_requests is None:
        return proof
    requests = max(sums.canary_n for sums in state.tallies.values())
    return replace(proof, more_requests=math.ceil(proof.more_requests / intervals * requests))


def _outcome(metric: BusinessOutcome, tally: Tally, alpha: float) -> Proof:
    stable = _stable_share(tally)
    text = f"{metric.name} below {metric.limit_odds:g} x stable's odds"
    p = float(p_odds(tally)) if tally.canary_n else 1.0
    bound = float(share_at_odds(stable, metric.limit_odds))
    upper = _share_upper(tally, metric.limit_odds, alpha)
    claim = _Claim(metric.name, text, "canary outcomes were bad")
    return _proof(claim, p, alpha, tally, (stable, bound, upper))


def _proof(claim: _Claim, p: float, alpha: float, tally: Tally, shares: tuple[float, float, float | None]) -> Proof:
    """Make a proof from its sums and from (stable's share, the limit, the canary's upper bound)."""
    stable, bound, upper = shares
    more = _more_requests(tally, stable, bound, alpha) if p > alpha > 0 and bound > stable else None
    return Proof(
        metric=claim.metric,
        claim=claim.text,
        counted=claim.counted,
        p=p,
        alpha=alpha,
        canary_share=tally.canary_bad / max(tally.canary_n, 1.0),
        stable_share=stable,
        bound=bound,
        upper=upper,
        canary_bad=int(tally.canary_bad),
        canary_n=int(tally.canary_n),
        stable_bad=round(stable * tally.stable_n),
        stable_n=int(tally.stable_n),
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


def _stable_share(tally: Tally) -> float:
    return tally.stable_bad / max(tally.stable_n, 1.0)


def _share_upper(tally: Tally, limit_odds: float, level: float) -> float | None:
    """Return the share of the canary's requests at the upper bound of its odds, beside stable's share."""
    odds = odds_upper(tally, limit_odds, level)
    return None if odds is None else float(share_at_odds(_stable_share(tally), odds))


def _level(quantile: float) -> str:
    return f"p{100 * quantile:g}"


def _within(quantile: float, slow: float) -> str:
    return f"{_level(quantile)} within +{100 * slow:g} % of stable"
