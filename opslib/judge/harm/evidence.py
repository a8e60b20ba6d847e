"""The contribution of one interval: an e-value per metric and effect, and sums for the proofs."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from opslib.judge.harm import latency, means, outcomes, ranks, sample_ratio, slo
from opslib.judge.harm.percentiles import merge_untrusted
from opslib.judge.harm.tables import log_e_two_by_two, log_e_values
from opslib.judge.values.criteria import Criteria, bets
from opslib.judge.values.interval import Interval
from opslib.judge.values.metrics import Answers, BusinessOutcome, Failures, Joint, Latency, Mean, Ranks, Slo
from opslib.judge.values.mixture import Mixture, advance, begin, limit_gain, transition
from opslib.judge.values.noninferiority import Tally, add, count
from opslib.judge.values.state import State, prior_shares

Floats = NDArray[np.float64]

_HALF_LIFE_MINUTES = 10.0  # of what is remembered of stable's latency shares


def gains(criteria: Criteria, state: State, interval: Interval) -> dict[str, Floats]:
    """Return the log e-values of one interval, by name of the evidence that they multiply.

    Metrics without data in the interval are left out: no data is no evidence, in either direction.
    """
    found: dict[str, Floats | None] = {}
    for metric in criteria.metrics:
        match metric:
            case Failures():
                found[metric.name] = _failures(metric, interval)
            case Latency():
                found[metric.name] = _latency(metric, state, interval)
            case Slo() if metric.threshold_ms is None or interval.source != "probes":
                # A probe's latency includes the runbook's way to the endpoint, which no limit is about.
                found[metric.name], found[f"shared:{metric.name}"] = slo.log_e_value(metric, interval)
            case Ranks():
                found[metric.name] = ranks.log_e_value(metric, interval) if interval.source == "metrics" else None
            case Answers():
                found[metric.name] = outcomes.log_e_answers(metric, interval.canary)
            case _:
                pass
    for metric in criteria.metrics:
        if isinstance(metric, Joint):
            found[metric.name] = _joint(metric, criteria, found, interval)
    if interval.source != "probes":
        found[sample_ratio.METRIC] = sample_ratio.log_e_value(
            interval.canary.requests, interval.stable.requests, interval.weight
        )
    return {name: value for name, value in found.items() if value is not None}


def multiply(
    criteria: Criteria,
    log_bets: Mapping[str, tuple[float, ...]],
    gained: Mapping[str, Floats],
    minutes: float,
) -> dict[str, tuple[float, ...]]:
    """Multiply the bets of each metric by what an interval of `minutes` gained it."""
    mixtures: dict[str, Mixture] = {metric.name: bets(metric, criteria) for metric in criteria.metrics}
    after = dict(log_bets)
    for name, log_e in gained.items():
        mixture = sample_ratio.MIXTURE if name == sample_ratio.METRIC else mixtures[name.removeprefix("shared:")]
        before = np.asarray(after[name]) if name in after else begin(mixture)
        moved = advance(before, log_e, transition(mixture, minutes))
        if criteria.most_gain is not None:
            moved = limit_gain(before, moved, criteria.most_gain)
        after[name] = tuple(moved.tolist())
    return after


def add_means(
    criteria: Criteria, log_bets: Mapping[str, tuple[float, ...]], interval: Interval
) -> dict[str, tuple[float, ...]]:
    """Add a settled cohort's differences to the sums of the metrics that are means."""
    after = dict(log_bets)
    for metric in criteria.metrics:
        if isinstance(metric, Mean) and (value := means.difference(metric, interval)) is not None:
            after[metric.name] = means.add(after[metric.name], value)
    return after


def tally(criteria: Criteria, state: State, interval: Interval) -> State:
    """Add an interval to the sums that the proofs use, and to what is remembered of stable's latency."""
    tallies, slow_stable = dict(state.tallies), dict(state.slow_stable)
    for metric in criteria.metrics:
        if isinstance(metric, Failures):
            mine, other = interval.canary, interval.stable
            before = tallies.get(metric.name, Tally())
            tallies[metric.name] = _scalars(
                add(before, mine.failures, mine.requests, other.failures, other.requests, metric.limit_odds)
            )
        elif isinstance(metric, Slo):
            pair = slo.bad_requests(metric, interval.canary), slo.bad_requests(metric, interval.stable)
            if pair[0] is not None and pair[1] is not None:
                tallies[metric.name] = _scalars(count(tallies.get(metric.name, Tally()), pair[0], pair[1]))
        elif isinstance(metric, Latency):
            if not state.reference_ms:
                learnt = latency.learn_reference(metric, interval.stable)
                state = replace(state, reference_ms=learnt, reference_counts=prior_shares(metric) if learnt else ())
                continue
            _tally_latency(metric, state, interval, tallies, slow_stable)
            state = _remember(state, interval)
        elif isinstance(metric, Ranks) and interval.source == "metrics":
            at = metric.quantile, metric.limit_slowdown
            first = dict(interval.stable.percentiles_ms).get(metric.quantile)
            if first is not None:
                state = replace(state, past_ms={metric.name: first, **state.past_ms})
                _tally_ranks(metric, interval, at, state.past_ms[metric.name], tallies, slow_stable)
    return replace(state, tallies=tallies, slow_stable=slow_stable)


def tally_cohort(criteria: Criteria, state: State, cohort: Interval) -> State:
    """Add a settled cohort to the sums of the business outcomes."""
    tallies = dict(state.tallies)
    for metric in criteria.metrics:
        if isinstance(metric, BusinessOutcome):
            mine, other = outcomes.table(metric, cohort.canary), outcomes.table(metric, cohort.stable)
            if mine is not None and other is not None:
                before = tallies.get(metric.name, Tally())
                tallies[metric.name] = _scalars(add(before, *mine, *other, metric.limit_odds))
    return replace(state, tallies=tallies)


def tally_key(metric: Latency | Ranks, quantile: float, slowdown: float, kind: str = "") -> str:
    """Name the tally of one latency proof."""
    return f"{metric.name}:p{100 * quantile:g}+{100 * slowdown:g}%" + (f":{kind}" if kind else "")


def _failures(metric: Failures, interval: Interval) -> Floats | None:
    if interval.paired is not None:
        return outcomes.log_e_paired(*interval.paired, metric.odds, metric.tolerated_odds)
    mine, other = interval.canary, interval.stable
    if mine.requests == 0 or other.requests == 0:
        return None
    return log_e_two_by_two(
        mine.failures, mine.requests, other.failures, other.requests, metric.odds, metric.tolerated_odds
    )


def _latency(metric: Latency, state: State, interval: Interval) -> Floats | None:
    if not state.reference_ms or interval.canary.latency_n == 0 or interval.stable.latency_n == 0:
        return None
    slower = [latency.stretched(cut, 1.0 + metric.tolerated_slowdown) for cut in state.reference_ms]
    mine = latency.counts_above(interval.canary, slower)
    other = latency.counts_above(interval.stable, state.reference_ms)
    if mine is None or other is None:
        return None
    if interval.source == "metrics":
        dropped = latency.distrusted(metric, state.reference_ms, state.dispersion)
        mine, other = merge_untrusted(mine, dropped), merge_untrusted(other, dropped)
    share = np.asarray(state.reference_counts[1:]) / state.reference_counts[0]
    mine_bins, other_bins = (
        latency.bins(interval.canary.latency_n, mine),
        latency.bins(interval.stable.latency_n, other),
    )
    return log_e_values(mine_bins, other_bins, latency.log_tilts(metric, share))


def _joint(
    metric: Joint, criteria: Criteria, found: Mapping[str, Floats | None], interval: Interval
) -> Floats | None:
    """Return the e-values of failures and latency as one.

    Where latency is known of successful requests only, its table is drawn after the failures' one and the product
    of the two e-values is an e-value. Where failed requests are timed too the tables share requests: then their
    mean.
    """
    failures = next(found[each.name] for each in criteria.metrics if isinstance(each, Failures))
    slow = next(found[each.name] for each in criteria.metrics if isinstance(each, Latency))
    if failures is None or slow is None:
        return None
    left = failures[[pair[0] for pair in metric.pairs]]
    right = slow[[pair[1] for pair in metric.pairs]]
    apart = interval.source != "metrics" and all(
        arm.latency_n <= arm.requests - arm.failures for arm in (interval.canary, interval.stable)
    )
    return np.asarray(left + right if apart else np.logaddexp(left, right) - np.log(2.0))


def _tally_latency(
    metric: Latency, state: State, interval: Interval, tallies: dict[str, Tally], slow_stable: dict[str, float]
) -> None:
    at = dict(zip(metric.quantiles, state.reference_ms, strict=True))
    mine, other = interval.canary, interval.stable
    for quantile, slowdown in metric.proofs:
        cuts = at[quantile], latency.stretched(at[quantile], 1.0 + slowdown)
        mine_above, other_above = latency.counts_above(mine, cuts), latency.counts_above(other, cuts)
        if mine_above is None or other_above is None:
            continue
        for kind, bad, odds in (("scale", mine_above[1], 1.0), ("odds", mine_above[0], metric.limit_odds)):
            name = tally_key(metric, quantile, slowdown, kind)
            before, near = tallies.get(name, Tally()), float(other_above[0])
            tallies[name] = _scalars(add(before, float(bad), mine.latency_n, near, other.latency_n, odds))
        name = tally_key(metric, quantile, slowdown, "scale")
        slow_stable[name] = slow_stable.get(name, 0.0) + float(other_above[1])
        if interval.source == "metrics":
            _tally_ranks(metric, interval, (quantile, slowdown), cuts[0], tallies, slow_stable)


def _tally_ranks(
    metric: Latency | Ranks,
    interval: Interval,
    at: tuple[float, float],
    past_ms: float,
    tallies: dict[str, Tally],
    slow_stable: dict[str, float],
) -> None:
    compared = ranks.compare(interval, at[0], (at[1], metric.limit_odds))
    if compared is None:
        return
    for kind, rank in zip(("ranks scale", "ranks odds"), compared, strict=True):
        name = tally_key(metric, *at, kind)
        tallies[name] = _scalars(ranks.add_rank(tallies.get(name, Tally()), *rank))
    name = tally_key(metric, *at, "ranks scale")
    slow_stable[name] = slow_stable.get(name, 0.0) + float(ranks.unsteady(interval, *at, past_ms))


def _remember(state: State, interval: Interval) -> State:
    above = latency.counts_above(interval.stable, state.reference_ms)
    if above is None or interval.stable.latency_n == 0:
        return state
    cells = latency.bins(interval.stable.latency_n, above)
    counts = tuple(remember(np.asarray(state.reference_counts), cells, interval.length_s / 60.0).tolist())
    if interval.source != "metrics":
        return replace(state, reference_counts=counts)
    return replace(
        state,
        reference_counts=counts,
        dispersion=latency.grown_dispersion(state.dispersion, above, interval.stable.latency_n),
    )


def remember(seen: Floats, cells: Floats, minutes: float) -> Floats:
    """Discount what was seen of stable's latency and add one interval's bins; shapes (..., cuts + 1) [count]."""
    above = cells[..., ::-1].cumsum(axis=-1)[..., ::-1]
    kept = 0.5 ** (minutes / _HALF_LIFE_MINUTES)
    return np.asarray(seen * kept + above)


def _scalars(tally: Tally) -> Tally:
    return Tally(*(float(value) for value in (getattr(tally, name) for name in Tally.__dataclass_fields__)))


def log_weighted_mean(weights: Mapping[str, float], log_evidence: Mapping[str, float]) -> float:
    """Return the log of the weighted mean of e-processes; a metric without data yet counts 1.

    A weighted mean of e-processes is an e-process under any dependence (Vovk & Wang 2021, Ann. Stat.
    49:1736-1754) and is never below what Bonferroni would use.
    """
    names: Sequence[str] = list(weights)
    values = np.array([log_evidence.get(name, 0.0) for name in names])
    top = float(values.max())
    return top + float(np.log(sum(weights[n] * np.exp(v - top) for n, v in zip(names, values, strict=True))))
