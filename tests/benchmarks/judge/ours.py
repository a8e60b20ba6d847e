"""This judge on many runs at once: the package's own functions on arrays of runs."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import scipy

from opslib.judge.harm.evidence import remember
from opslib.judge.harm.latency import log_tilts
from opslib.judge.harm.percentiles import (
    in_gap,
    interpolated_above,
    log_e_rank_share,
    merge_untrusted,
    scatter,
    untrusted,
)
from opslib.judge.harm.ranks import add_rank, chance, chance_higher, prove_ranks, rank_log_e_values
from opslib.judge.harm.tables import log_e_share, log_e_two_by_two, log_e_values
from opslib.judge.values.criteria import Criteria, bets
from opslib.judge.values.metrics import Failures, Joint, Latency, Ranks, Slo
from opslib.judge.values.mixture import advance, begin, log_evidence, transition
from opslib.judge.values.noninferiority import Tally, add, prove_failures, prove_latency

from .traffic import MINUTES, PROOFS, QUANTILES, REPORTED, SLO_MS, SLOTS, TOLERATED, Traffic

METRIC_CUTS = (0.5, 0.9, 0.95, 0.99)


@dataclass(frozen=True)
class Result:
    """Per run: outcome ("rollback", "promote" or "hold") and the minute of a rollback (else nan)."""

    outcome: np.ndarray
    minute: np.ndarray
    detail: dict[str, np.ndarray]


def criteria_for(traffic: Traffic, source="request log", **changes) -> Criteria:
    """What a user would write for this endpoint: its failure limit and its latency promise."""
    limit = traffic.scenario.slo
    latency = {
        "request log": (Latency(), Joint()),
        "metrics": (Latency(quantiles=METRIC_CUTS), Joint()),
        "ranks": tuple(
            Ranks(name=f"p{100 * q:g} ranks", quantile=q, limit_slowdown=slow, weight=0.16) for q, slow in PROOFS
        ),
    }
    metrics = (
        Failures(limit_rate=limit),
        *latency[source],
        Slo(name="p95 within 250 ms", allowed=0.05, threshold_ms=SLO_MS),
        Slo(name="failures within limit", allowed=limit),
    )
    return replace(Criteria(metrics=metrics), **changes)


def decide(traffic: Traffic, criteria: Criteria, *, slots_per_step: int = SLOTS, source="request log") -> Result:
    """Judge all runs, a step at a time; `slots_per_step` 6 is once a minute, 1 every ten seconds.

    From sources "metrics" and "ranks" the judge sees counts of requests and failures and four percentiles a minute;
    "ranks" interpolates nothing.
    """
    step_minutes = slots_per_step / SLOTS
    count = {arm: _merge(traffic.n[arm], slots_per_step) for arm in ("canary", "stable")}
    failed = {arm: _merge(traffic.failures[arm], slots_per_step) for arm in ("canary", "stable")}
    above = {arm: _merge(traffic.above[arm], slots_per_step) for arm in ("canary", "stable")}
    cuts: tuple[float, ...] = QUANTILES
    if source != "request log":
        cuts = METRIC_CUTS
        above, dropped, at_end = _from_percentiles(traffic, count, failed)
    else:
        dropped, at_end = None, None
    gained = _gains(criteria, count, failed, above, step_minutes, cuts, dropped, traffic)
    weights = criteria.acting()
    runs, steps = count["canary"].shape
    total = np.zeros((runs, steps))
    evidence = {}
    metric: Any  # a mean has no prior, and none is among these criteria
    for metric in criteria.metrics:
        mixture = bets(metric, criteria)
        matrix = transition(mixture, step_minutes)
        state = np.broadcast_to(begin(mixture), (runs, len(metric.prior) + 1))
        path = np.zeros((runs, steps))
        for step in range(steps):
            state = advance(state, gained[metric.name][:, step], matrix)
            path[:, step] = log_evidence(state)
        evidence[metric.name] = path
    top = np.max(list(evidence.values()), axis=0)
    for name, path in evidence.items():
        total += weights[name] * np.exp(path - top)
    total = np.log(total) + top
    proven, parts = _proofs(criteria, count, failed, above, cuts, traffic, at_end)
    proven = proven & (total[:, -1] < np.log(criteria.suspicion))
    detail = {"total": total, "proven": proven, **evidence, **parts}
    return conclude(detail, criteria.alpha, step_minutes)


def conclude(detail: dict[str, np.ndarray], alpha: float, step_minutes: float) -> Result:
    """Roll back where the evidence reaches 1 / alpha, else promote what is proven."""
    over = detail["total"] >= -np.log(alpha)
    hit = over.any(axis=1)
    minute = np.where(hit, (over.argmax(axis=1) + 1) * step_minutes, np.nan)
    return Result(np.where(hit, "rollback", np.where(detail["proven"], "promote", "hold")), minute, detail)


def _gains(criteria, count, failed, above, minutes, levels, dropped, traffic):
    cuts = len(levels)
    out = {}
    for metric in criteria.metrics:
        if isinstance(metric, Failures):
            args = failed["canary"], count["canary"], failed["stable"], count["stable"]
            out[metric.name] = _chunked(
                lambda a, b, c, d, m=metric: log_e_two_by_two(a, b, c, d, m.odds, m.tolerated_odds), *args
            )
        elif isinstance(metric, Latency):
            slower, slow = above["canary"][..., cuts : 2 * cuts], above["stable"][..., :cuts]
            share = _past_share(_bins(count["stable"] - failed["stable"], slow), minutes, levels)
            if dropped is not None:
                slower, slow = merge_untrusted(slower, dropped), merge_untrusted(slow, dropped)
            mine = _bins(count["canary"] - failed["canary"], slower)
            other = _bins(count["stable"] - failed["stable"], slow)
            out[metric.name] = _chunked(
                lambda a, b, s, m=metric: log_e_values(a, b, log_tilts(m, s)), mine, other, share
            )
        elif isinstance(metric, Ranks):
            out[metric.name] = _ranks(metric, count, failed, traffic)
        elif isinstance(metric, Slo):
            out[metric.name] = _promise(metric, count, failed, above, traffic if dropped is not None else None)
    for metric in criteria.metrics:
        if isinstance(metric, Joint):
            pairs = np.array(metric.pairs)
            out[metric.name] = out["failures"][..., pairs[:, 0]] + out["latency"][..., pairs[:, 1]]
            if dropped is not None:  # failed requests are timed too: the two tables share requests
                halves = out["failures"][..., pairs[:, 0]], out["latency"][..., pairs[:, 1]]
                out[metric.name] = np.logaddexp(*halves) - np.log(2.0)
    return out


def _ranks(metric, count, failed, traffic):
    """How many of stable's percentiles lie below the canary's, as `ranks.log_e_value` does."""
    n, m = (count[arm] - failed[arm] for arm in ("canary", "stable"))
    bar = traffic.percentiles["canary"][..., REPORTED.index(metric.quantile)] / (1 + metric.tolerated_slowdown)
    below = (traffic.percentiles["stable"] < bar[..., None]).sum(axis=-1)
    sizes, place = np.unique(np.stack([n, m]).reshape(2, -1), axis=1, return_inverse=True)
    mine, other = np.maximum(sizes, 1)[..., None]
    rank = np.maximum(np.ceil(metric.quantile * mine - 1e-9), 1)
    ranks = np.maximum(np.ceil(REPORTED * other - 1e-9), 1)
    same = scipy.stats.hypergeom(mine + other, mine, rank + ranks - 1).cdf(rank - 1)
    mine, other, rank, ranks = np.broadcast_arrays(mine, other, rank, ranks)
    tables = [rank_log_e_values(same, chance(mine, other, rank, ranks, odds)) for odds in metric.odds]
    columns = [table[place.ravel(), below.ravel()].reshape(n.shape) for table in tables]
    return np.where(((n > 0) & (m > 0))[..., None], np.stack(columns, axis=-1), 0.0)


def _promise(metric, count, failed, above, published):
    if metric.threshold_ms is None:
        bad, size = failed, count
    else:
        bad = {arm: above[arm][..., -1] for arm in above}
        size = {arm: count[arm] - failed[arm] for arm in count}
    shares = np.minimum(np.asarray(metric.times) * metric.allowed, 0.95)
    log_e = log_e_share(bad["canary"], size["canary"], shares, metric.allowed)
    if metric.threshold_ms is not None and published is not None:
        table = np.nan_to_num(published.percentiles["canary"])
        threshold = np.full(size["canary"].shape, SLO_MS)
        log_e = log_e_rank_share(REPORTED, table, size["canary"], threshold, shares, metric.allowed)
    shared = (size["stable"] > 0) & (bad["stable"] > metric.allowed * size["stable"])
    return np.where(shared[..., None], 0.0, log_e)


def _past_share(cells, minutes, levels):
    """Shares of stable above each cut before each step, as the state remembers them."""
    runs, steps, _ = cells.shape
    seen = np.broadcast_to(np.array([200.0, *(200.0 * (1 - q) for q in levels)]), (runs, len(levels) + 1))
    share = np.zeros((runs, steps, len(levels)))
    for step in range(steps):
        share[:, step] = seen[:, 1:] / seen[:, :1]
        seen = remember(seen, cells[:, step], minutes)
    return share


def _from_percentiles(traffic, count, failed):
    """Counts above thresholds as the judge interpolates them, and the cuts dropped: each minute, at the end."""
    at = traffic.reference_ms[:, [QUANTILES.index(q) for q in METRIC_CUTS]]
    far = np.stack([at[:, METRIC_CUTS.index(q)] * (1 + slow) for q, slow in PROOFS], axis=1)
    promise = np.full((len(at), 1), SLO_MS)
    wanted = np.concatenate([at, at * (1 + TOLERATED), far, promise], axis=1)
    above = {}
    for arm in ("canary", "stable"):
        size = count[arm] - failed[arm]
        table = traffic.percentiles[arm]
        columns = [interpolated_above(REPORTED, table, size, wanted[:, None, i]) for i in range(wanted.shape[1])]
        above[arm] = np.stack(columns, axis=-1)
    size = (count["stable"] - failed["stable"])[..., None]
    share = above["stable"][..., : len(METRIC_CUTS)] / np.maximum(size, 1)
    seconds = scatter(share[:, :-2], share[:, 1:-1], share[:, 2:], size[:, 2:])
    squared, usual = (v.cumsum(axis=1) for v in seconds)
    dropped = np.zeros(share.shape, dtype=bool)
    steps = np.arange(1, squared.shape[1] + 1)[:, None]
    dropped[:, 3:] = untrusted(squared, usual, steps)[:, :-1]  # judged on what came before
    dropped |= in_gap(METRIC_CUTS, at)[:, None, :]
    at_end = untrusted(squared[:, -1], usual[:, -1], squared.shape[1]) | in_gap(METRIC_CUTS, at)
    return above, dropped, at_end


def p_ranks(traffic, size, quantile, slow, odds, runs, past):
    """p-values of the proof by ranks of published percentiles, for the runs that need it."""
    mine, other = (traffic.percentiles[arm][runs][:, :, REPORTED.index(quantile)] for arm in ("canary", "stable"))
    n, m = (size[arm][runs] for arm in ("canary", "stable"))
    known = (n > 0) & (m > 0)
    n, m = np.maximum(n, 1), np.maximum(m, 1)
    away = np.maximum(*(np.abs(np.log(each / past[:, None])) for each in (mine, other)))
    unsteady = (known & (away > np.log1p(slow))).sum(axis=1)
    scale, by_odds = Tally(), Tally()
    for t in range(MINUTES):
        seen = known[:, t]
        equal, at_limit = (chance_higher(n[:, t], m[:, t], quantile, w) * seen for w in (1.0, odds))
        scale = add_rank(scale, seen & (mine[:, t] / (1 + slow) > other[:, t]), equal, equal)
        by_odds = add_rank(by_odds, seen & (mine[:, t] > other[:, t]), at_limit, equal)
    return prove_ranks(scale, by_odds, unsteady)[0]


def _proofs(criteria, count, failed, above, levels, traffic, distrusted):
    cuts = len(levels)
    minute = lambda values: _merge(values, values.shape[1] // MINUTES)  # noqa: E731
    count, failed = ({arm: minute(v) for arm, v in each.items()} for each in (count, failed))
    above = {arm: minute(v) for arm, v in above.items()}
    good = {arm: count[arm] - failed[arm] for arm in count}
    parts = {}
    for metric in criteria.metrics:
        if isinstance(metric, Failures):
            sums = Tally()
            for t in range(MINUTES):
                sums = add(
                    sums,
                    failed["canary"][:, t],
                    count["canary"][:, t],
                    failed["stable"][:, t],
                    count["stable"][:, t],
                    metric.limit_odds,
                )
            parts["p failures"] = prove_failures(sums, metric.limit_odds, metric.limit_rate)[0]
        elif isinstance(metric, Latency):
            for i, (q, slow) in enumerate(metric.proofs):
                if PROOFS[i] != (q, slow):
                    raise ValueError(f"traffic was counted for {PROOFS}, criteria ask for {metric.proofs}")
                at, far = levels.index(q), 2 * cuts + i
                scale, odds = Tally(), Tally()
                for t in range(MINUTES):
                    near = above["stable"][:, t, at]
                    arms = good["canary"][:, t], near, good["stable"][:, t]
                    scale = add(scale, above["canary"][:, t, far], *arms, 1.0)
                    odds = add(odds, above["canary"][:, t, at], *arms, metric.limit_odds)
                beyond = above["stable"][:, :, far].sum(axis=1)
                p = prove_latency(scale, odds, beyond, metric.limit_odds)[0]
                if distrusted is not None and distrusted[:, at].any():
                    rows = np.flatnonzero(distrusted[:, at])
                    past = traffic.reference_ms[rows, QUANTILES.index(q)]
                    p[rows] = p_ranks(traffic, good, q, slow, metric.limit_odds, rows, past)
                parts[f"p {q}"] = p
        elif isinstance(metric, Ranks):
            rows, q = np.arange(len(good["canary"])), metric.quantile
            past = traffic.percentiles["stable"][:, 0, REPORTED.index(q)]
            limits = metric.limit_slowdown, metric.limit_odds
            parts[f"p {metric.name}"] = p_ranks(traffic, good, q, *limits, rows, past)
    proven = np.all([p <= criteria.promote_alpha for p in parts.values()], axis=0)
    return proven, parts


def _bins(size, above):
    edges = np.concatenate([size[..., None], above, np.zeros_like(size)[..., None]], axis=-1)
    return -np.diff(edges, axis=-1)


def _merge(values, slots):
    values = np.asarray(values, dtype=float)
    return values.reshape(values.shape[0], values.shape[1] // slots, slots, *values.shape[2:]).sum(axis=2)


def _chunked(function, *arrays, size=4000):
    """Apply to slices of (runs x steps), so that memory stays flat."""
    runs, steps = arrays[0].shape[:2]
    flat = [each.reshape(runs * steps, *each.shape[2:]) for each in arrays]
    parts = [function(*(each[i : i + size] for each in flat)) for i in range(0, runs * steps, size)]
    return np.concatenate(parts).reshape(runs, steps, -1)
