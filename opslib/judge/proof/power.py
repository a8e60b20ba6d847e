"""Power of a planned stage: how long each metric takes to find harm and to prove its absence."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opslib.displayed import Displayed
from opslib.judge.values.criteria import Criteria
from opslib.judge.values.metrics import Failures, Latency


@dataclass(frozen=True, kw_only=True)
class PlannedStage:
    """What is known before a stage.

    Attributes
    ----------
    requests_per_minute, failure_rate
        Measured traffic of the endpoint [1/minute] and failure rate of stable [fraction].
    weight, bake_minutes
        Planned share of the canary, above 0 [percent], and length of the stage [minutes].
    log_latency_sd
        Standard deviation of log-latency, for example ln(p95 / p50) / 1.645.
    """

    requests_per_minute: float
    failure_rate: float
    weight: float
    bake_minutes: float
    log_latency_sd: float = 0.55

    @property
    def canary_per_minute(self) -> float:
        """Requests that the canary will get, at least one in a million minutes [1/minute]."""
        return max(self.requests_per_minute * self.weight / 100.0, 1e-6)


@dataclass(frozen=True, kw_only=True)
class MetricForecast:
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
class BakeForecast(Displayed):
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
        Bake that suffices at the planned weight [minutes], and weight that suffices within the planned bake
        [percent]; None if no weight up to 50 does.
    """

    decides: bool
    forecasts: tuple[MetricForecast, ...]
    advice: str
    needed_minutes: float
    needed_weight: float | None


def requests_to_prove(share: float, bound: float, alpha: float, power: float = 0.8) -> float:
    """Return the canary requests after which a share is shown to be below a bound.

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
        The fewest at which some number of bad requests is both unlikely at the bound and likely at the share;
        Poisson counts for bounds below 10 %, else the variance-stabilised normal approximation [count].
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
    """Return the time after which a change of odds is typically rolled back.

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
        `log_price` over the information per minute, E[bad] KL(Bern(theta1) || Bern(theta0)), theta the canary's
        share of the bad requests; infinite without canary or stable traffic.
    """
    share = weight / 100.0
    if not 0 < share < 1 or requests_per_minute <= 0:
        return math.inf
    changed = odds * base / (1.0 + (odds - 1.0) * base)
    bad = requests_per_minute * (share * changed + (1.0 - share) * base)
    theta1 = share * changed / (share * changed + (1.0 - share) * base)
    theta0 = tolerated * share / (tolerated * share + 1.0 - share)
    gain = theta1 * math.log(theta1 / theta0) + (1 - theta1) * math.log((1 - theta1) / (1 - theta0))
    overall = share * changed + (1.0 - share) * base
    return log_price / max(bad * gain * (1.0 - overall), 1e-12)


def forecast_bake(
    criteria: Criteria,
    outlook: PlannedStage,
    *,
    failure_changes: Sequence[float] = (2.0, 3.0, 5.0),
    slowdowns: Sequence[float] = (0.1, 0.2, 0.5),
) -> BakeForecast:
    """Forecast what a stage can show, before it starts.

    Parameters
    ----------
    criteria
        What will be judged.
    outlook
        Measured traffic and planned stage.
    failure_changes, slowdowns
        Changes to forecast: multiples of the failure rate, and slowdowns of every request [fraction].

    Returns
    -------
    plan
        Refuse the stage, or ask for more weight or a longer bake, where `decides` is false.
    """
    rows: list[MetricForecast] = []
    for metric in criteria.metrics:
        if isinstance(metric, Failures) and metric.mode == "act":
            rows += _failure_rows(metric, criteria, outlook, failure_changes)
        elif isinstance(metric, Latency) and metric.mode == "act":
            rows += _latency_rows(metric, criteria, outlook, slowdowns)
    return _advise(tuple(rows), outlook)


def _failure_rows(
    metric: Failures, criteria: Criteria, outlook: PlannedStage, changes: Sequence[float]
) -> list[MetricForecast]:
    base, rows = max(outlook.failure_rate, 1e-6), []
    price = _price(criteria, metric.name, max(metric.prior))
    for times in changes:
        odds = times * (1 - base) / max(1 - times * base, 1e-6)
        if odds > metric.tolerated_odds:
            traffic = outlook.requests_per_minute, outlook.weight
            found = minutes_to_detect(base, odds, metric.tolerated_odds, *traffic, price)
            rows.append(_row(metric.name, f"x{times:g}", detect=found))
    bound = max(metric.limit_rate, metric.limit_odds * base / (1 + (metric.limit_odds - 1) * base))
    needed = requests_to_prove(outlook.failure_rate, bound, criteria.promote_alpha)
    rows.append(_row(metric.name, f"below {100 * bound:.3g} %", prove=needed / outlook.canary_per_minute))
    return rows


def _latency_rows(
    metric: Latency, criteria: Criteria, outlook: PlannedStage, slowdowns: Sequence[float]
) -> list[MetricForecast]:
    """Forecast slowdowns: information of a shift in normal scores, n s (1 - s) d^2 / 2 per minute of n requests."""
    from scipy.special import ndtr, ndtri  # noqa: PLC0415

    price, sd = _price(criteria, metric.name, max(metric.prior)), outlook.log_latency_sd
    share, rows = outlook.weight / 100.0, []
    for slow in slowdowns:
        shift = (math.log1p(slow) - math.log1p(metric.tolerated_slowdown)) / sd
        gain = 0.5 * outlook.requests_per_minute * share * (1.0 - share) * shift * shift
        if shift > 0:
            rows.append(_row(metric.name, f"+{100 * slow:g} %", detect=price / max(gain, 1e-12)))
    for quantile, slow in metric.proofs:
        beyond = float(ndtr(-(ndtri(quantile) + math.log1p(slow) / sd)))
        needed = requests_to_prove(beyond, 1.0 - quantile, criteria.promote_alpha)
        change = f"p{100 * quantile:g} within +{100 * slow:g} %"
        rows.append(_row(metric.name, change, prove=needed / outlook.canary_per_minute))
    return rows


def _price(criteria: Criteria, name: str, prior: float) -> float:
    return math.log(1.0 / (criteria.alpha * criteria.acting()[name] * prior * (1.0 - criteria.idle)))


def _row(metric: str, change: str, detect: float | None = None, prove: float | None = None) -> MetricForecast:
    return MetricForecast(metric=metric, change=change, detect_minutes=detect, prove_minutes=prove)


def _advise(rows: tuple[MetricForecast, ...], outlook: PlannedStage) -> BakeForecast:
    minutes = max((row.prove_minutes for row in rows if row.prove_minutes is not None), default=0.0)
    bake, weight = outlook.bake_minutes, outlook.weight
    needed = weight * minutes / bake if bake > 0 else math.inf
    other = needed if needed <= 50 else None
    text = f"{bake:.3g} min at {weight:g} % can decide: the slowest proof needs about {minutes:.2g} min"
    if minutes > bake:
        more = "" if other is None else f" or a weight of {math.ceil(needed):g} %"
        text = f"{bake:.3g} min at {weight:g} % cannot decide: plan {math.ceil(minutes):,} min{more}"
    return BakeForecast(
        decides=minutes <= bake, forecasts=rows, advice=text, needed_minutes=minutes, needed_weight=other
    )
