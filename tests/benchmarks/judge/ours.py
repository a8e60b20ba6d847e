"""This judge on many runs at once: the package's own functions on arrays of runs."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from opslib.judge.criteria import Criteria, Failures, Latency, Slo, Together, bets
from opslib.judge.evidence import remember
from opslib.judge.latency import log_tilts
from opslib.judge.mixture import advance, begin, log_evidence, transition
from opslib.judge.noninferiority import Tally, add, prove_failures, prove_latency
from opslib.judge.tables import log_e_share, log_e_two_by_two, log_e_values

from .traffic import MINUTES, PROOFS, QUANTILES, SLO_MS, SLOTS, Traffic


@dataclass(frozen=True)
class Result:
    """Per run: outcome ("rollback", "promote" or "hold") and the minute at which a rollback was decided (else nan)."""

    outcome: np.ndarray
    minute: np.ndarray
    detail: dict[str, np.ndarray]


def criteria_for(traffic: Traffic, **changes) -> Criteria:
    """What a user would write for this endpoint: its failure limit and its latency promise."""
    limit = traffic.scenario.slo
    metrics = (
        Failures(limit_rate=limit),
        Latency(),
        Together(),
        Slo(name="p95 within 250 ms", allowed=0.05, threshold_ms=SLO_MS),
        Slo(name="failures within limit", allowed=limit),
    )
    return replace(Criteria(metrics=metrics), **changes)


def decide(traffic: Traffic, criteria: Criteria, *, slots_per_step: int = SLOTS) -> Result:
    """Judge all runs, a step at a time; `slots_per_step` 6 is once a minute, 1 every ten seconds."""
    step_minutes = slots_per_step / SLOTS
    count = {arm: _merge(traffic.n[arm], slots_per_step) for arm in ("canary", "stable")}
    failed = {arm: _merge(traffic.failures[arm], slots_per_step) for arm in ("canary", "stable")}
    above = {arm: _merge(traffic.above[arm], slots_per_step) for arm in ("canary", "stable")}
    gained = _gains(criteria, count, failed, above, step_minutes)
    weights = criteria.acting()
    runs, steps = count["canary"].shape
    total = np.zeros((runs, steps))
    evidence = {}
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
    over = total >= -np.log(criteria.alpha)
    hit = over.any(axis=1)
    minute = np.where(hit, (over.argmax(axis=1) + 1) * step_minutes, np.nan)
    proven, parts = _proofs(criteria, count, failed, above)
    calm = total[:, -1] < np.log(criteria.suspicion)
    outcome = np.where(hit, "rollback", np.where(proven & calm, "promote", "hold"))
    return Result(outcome, minute, {"total": total, "calm": calm, **evidence, **parts})


def _gains(criteria, count, failed, above, minutes):
    cuts = len(QUANTILES)
    out = {}
    for metric in criteria.metrics:
        if isinstance(metric, Failures):
            args = failed["canary"], count["canary"], failed["stable"], count["stable"]
            out[metric.name] = _chunked(
                lambda a, b, c, d, m=metric: log_e_two_by_two(a, b, c, d, m.odds, m.tolerated_odds), *args
            )
        elif isinstance(metric, Latency):
            mine = _bins(count["canary"] - failed["canary"], above["canary"][..., cuts : 2 * cuts])
            other = _bins(count["stable"] - failed["stable"], above["stable"][..., :cuts])
            share = _past_share(other, minutes)
            out[metric.name] = _chunked(
                lambda a, b, s, m=metric: log_e_values(a, b, log_tilts(m, s)), mine, other, share
            )
        elif isinstance(metric, Slo):
            out[metric.name] = _promise(metric, count, failed, above)
    for metric in criteria.metrics:
        if isinstance(metric, Together):
            pairs = np.array(metric.pairs)
            out[metric.name] = out["failures"][..., pairs[:, 0]] + out["latency"][..., pairs[:, 1]]
    return out


def _promise(metric, count, failed, above):
    if metric.threshold_ms is None:
        bad, size = failed, count
    else:
        bad = {arm: above[arm][..., -1] for arm in above}
        size = {arm: count[arm] - failed[arm] for arm in count}
    shares = np.minimum(np.asarray(metric.times) * metric.allowed, 0.95)
    log_e = log_e_share(bad["canary"], size["canary"], shares, metric.allowed)
    shared = (size["stable"] > 0) & (bad["stable"] > metric.allowed * size["stable"])
    return np.where(shared[..., None], 0.0, log_e)


def _past_share(cells, minutes):
    """Shares of stable above each cut before each step, as the state remembers them."""
    runs, steps, _ = cells.shape
    seen = np.broadcast_to(np.array([200.0, *(200.0 * (1 - q) for q in QUANTILES)]), (runs, len(QUANTILES) + 1))
    share = np.zeros((runs, steps, len(QUANTILES)))
    for step in range(steps):
        share[:, step] = seen[:, 1:] / seen[:, :1]
        seen = remember(seen, cells[:, step], minutes)
    return share


def _proofs(criteria, count, failed, above):
    cuts = len(QUANTILES)
    minute = lambda values: _merge(values, values.shape[1] // MINUTES)  # noqa: E731
    count, failed = ({arm: minute(v) for arm, v in each.items()} for each in (count, failed))
    above = {arm: minute(v) for arm, v in above.items()}
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
            good = {arm: count[arm] - failed[arm] for arm in count}
            for i, (q, slow) in enumerate(metric.proofs):
                if PROOFS[i] != (q, slow):
                    raise ValueError(f"traffic was counted for {PROOFS}, criteria ask for {metric.proofs}")
                at, far = QUANTILES.index(q), 2 * cuts + i
                scale, odds = Tally(), Tally()
                for t in range(MINUTES):
                    near = above["stable"][:, t, at]
                    arms = good["canary"][:, t], near, good["stable"][:, t]
                    scale = add(scale, above["canary"][:, t, far], *arms, 1.0)
                    odds = add(odds, above["canary"][:, t, at], *arms, metric.limit_odds)
                beyond = above["stable"][:, :, far].sum(axis=1)
                parts[f"p {q}"] = prove_latency(scale, odds, beyond, metric.limit_odds)[0]
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
