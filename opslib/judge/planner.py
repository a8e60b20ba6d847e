"""Before the run: how long each metric takes to find harm and to prove its absence, at the planned weight and traffic."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opslib.judge.criteria import Criteria, Failures, Latency


@dataclass(frozen=True, kw_only=True)
class Forecast:
    """What one metric can show.

    Attributes
    ----------
    metric, change
        What is watched, and the change that the times are about.
    detect_minutes, prove_minutes
        Typical time until such a change is rolled back, and until an unchanged canary is proven with 80 %
        probability; None where it does not apply [minutes].
    """

    metric: str
    change: str
    detect_minutes: float | None
    prove_minutes: float | None


@dataclass(frozen=True, kw_only=True)
class Plan:
    """Whether a stage can decide, and what would let it.

    Attributes
    ----------
    decides
        Whether every proof is likely to be in by the end of the bake.
    forecasts
        One per metric and change.
    advice
        One sentence: fine, or the bake or the weight that would be needed.
    needed_minutes, needed_weight
        Bake that suffices at the planned weight [minutes], and weight that suffices within the planned bake [percent];
        None if no weight up to 50 does.
    """

    decides: bool
    forecasts: tuple[Forecast, ...]
    advice: str
    needed_minutes: float
    needed_weight: float | None


def requests_to_prove(share: float, bound: float, alpha: float, power: float = 0.8) -> float:
    """Give the canary requests after which a share is shown to be below a bound.

    Parameters
    ----------
    share
        True share of bad requests; 0 <= share < bound [fraction].
    bound
        Share to be excluded; < 1 [fraction].
    alpha, power
        Level of the test and wanted probability of success [fraction].

    Returns
    -------
    requests
        The fewest at which some number of bad requests is both unlikely at the bound and likely at the share; Poisson
        counts for bounds below 10 %, else the variance-stabilised normal approximation [count].
    """
    from scipy.special import gammaincinv, ndtri, pdtr  # noqa: PLC0415

    if bound < 0.1:
        for bad in range(60):
            needed = float(gammaincinv(bad + 1, 1.0 - alpha)) / bound
            if pdtr(bad, needed * share) >= power:
                return needed
    distance = math.asin(math.sqrt(bound)) - math.asin(math.sqrt(max(share, 0.0)))
    return float(((ndtri(1.0 - alpha) + ndtri(power)) / (2.0 * distance)) ** 2)


def minutes_to_detect(
    base: float, odds: float, tolerated: float, requests_per_minute: float, weight: float, log_price: float
) -> float:
    """Give the time after which a change of odds is typically rolled back.

    Parameters
    ----------
    base
        Share of bad requests of stable; in (0, 1) [fraction].
    odds, tolerated
        True odds ratio of the canary, above the tolerated one.
    requests_per_minute, weight
        Traffic of the endpoint [1/minute] and share of the canary [percent].
    log_price
        ln of 1 / (alpha x weight of the metric x share of the bet on such an effect), in nats.

    Returns
    -------
    minutes
        `log_price` over the information per minute, E[bad] KL(Bern(theta1) || Bern(theta0)), theta the canary's share
        of the bad requests; infinite without canary or stable traffic.
    """
    share = weight / 100.0
    if not 0 < share < 1 or requests_per_minute <= 0:
        return math.inf
    changed = odds * base / (1.0 + (odds - 1.0) * base)
    bad = requests_per_minute * (share * changed + (1.0 - share) * base)
    # Odds of a bad request being the canary's, given finite shares: the information of a 2x2 table, with both margins.
    theta1 = share * changed / (share * changed + (1.0 - share) * base)
    theta0 = tolerated * share / (tolerated * share + 1.0 - share)
    gain = theta1 * math.log(theta1 / theta0) + (1 - theta1) * math.log((1 - theta1) / (1 - theta0))
    overall = share * changed + (1.0 - share) * base
    return log_price / max(bad * gain / max(1.0 - overall, 1e-9), 1e-12)


def plan(
    criteria: Criteria,
    *,
    requests_per_minute: float,
    weight: float,
    bake_minutes: float,
    failure_rate: float,
    failure_changes: Sequence[float] = (2.0, 3.0, 5.0),
    slowdowns: Sequence[float] = (0.1, 0.2, 0.5),
    log_latency_sd: float = 0.55,
) -> Plan:
    """Say before a stage what it can show.

    Parameters
    ----------
    criteria
        What will be judged.
    requests_per_minute, weight, bake_minutes
        Measured traffic of the endpoint [1/minute], planned share [percent] and length of the stage [minutes].
    failure_rate
        Measured failure rate of stable [fraction].
    failure_changes, slowdowns
        Changes to forecast: multiples of the failure rate, and slowdowns of every request [fraction].
    log_latency_sd
        Standard deviation of log-latency, for example ln(p95 / p50) / 1.645.

    Returns
    -------
    plan
        Refuse the stage, or ask for more weight or a longer bake, where `decides` is false.
    """
    rows: list[Forecast] = []
    weights = criteria.acting()
    proof = 0.0
    for metric in criteria.metrics:
        if isinstance(metric, Failures) and metric.name in weights:
            base = max(failure_rate, 1e-6)
            price = _price(criteria, weights[metric.name], max(metric.prior))
            for times in failure_changes:
                odds = times * (1 - base) / max(1 - times * base, 1e-6)
                if odds > metric.tolerated_odds:
                    found = minutes_to_detect(
                        base, odds, metric.tolerated_odds, requests_per_minute, weight, price
                    )
                    rows.append(
                        Forecast(
                            metric=metric.name, change=f"x{times:g}", detect_minutes=found, prove_minutes=None
                        )
                    )
            bound = max(metric.limit_rate, metric.limit_odds * base / (1 + (metric.limit_odds - 1) * base))
            proof = max(proof, requests_to_prove(failure_rate, bound, criteria.promote_alpha))
            rows.append(
                _proof_row(metric.name, f"below {100 * bound:.3g} %", proof, requests_per_minute, weight)
            )
        elif isinstance(metric, Latency) and metric.name in weights:
            rows += _latency_rows(metric, criteria, slowdowns, log_latency_sd, requests_per_minute, weight)
    return _advise(tuple(rows), proof, requests_per_minute, weight, bake_minutes)


def _latency_rows(
    metric: Latency, criteria: Criteria, slowdowns: Sequence[float], sd: float, rate: float, weight: float
) -> list[Forecast]:
    """Forecast slowdowns: information of a shift in normal scores, n s (1 - s) d^2 / 2 per minute of n requests."""
    price = _price(criteria, criteria.acting()[metric.name], max(metric.prior))
    share, rows = weight / 100.0, []
    for slow in slowdowns:
        shift = (math.log1p(slow) - math.log1p(metric.tolerated_slowdown)) / sd
        gain = 0.5 * rate * share * (1.0 - share) * shift * shift
        if shift > 0:
            found = price / max(gain, 1e-12)
            rows.append(
                Forecast(
                    metric=metric.name, change=f"+{100 * slow:g} %", detect_minutes=found, prove_minutes=None
                )
            )
    return rows


def _price(criteria: Criteria, weight: float, prior: float) -> float:
    return math.log(1.0 / (criteria.alpha * weight * prior * (1.0 - criteria.idle)))


def _proof_row(metric: str, change: str, requests: float, rate: float, weight: float) -> Forecast:
    minutes = requests / max(rate * weight / 100.0, 1e-12)
    return Forecast(metric=metric, change=change, detect_minutes=None, prove_minutes=minutes)


def _advise(rows: tuple[Forecast, ...], proof: float, rate: float, weight: float, bake: float) -> Plan:
    minutes = proof / max(rate * weight / 100.0, 1e-12)
    fits = minutes <= bake
    needed = 100.0 * proof / max(rate * bake, 1e-12)
    other = needed if needed <= 50 else None
    text = f"{bake:g} minutes at {weight:g} % suffice: the slowest proof needs about {minutes:.0f}"
    if not fits:
        more = f" or a weight of {math.ceil(needed):g} %" if other else ""
        text = f"{bake:g} minutes at {weight:g} % cannot decide: plan {math.ceil(minutes):g} minutes{more}"
    return Plan(decides=fits, forecasts=rows, advice=text, needed_minutes=minutes, needed_weight=other)
