"""Before a canary: what stable served in the last minutes, and what a bake at that traffic can show."""

import math
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.azure.arm import Progress
from opslib.azure.source import Source
from opslib.judge import BakeForecast, Criteria, Latency, PlannedStage, Rate, estimate_rate, forecast_bake
from opslib.runbooks.canary.judge_settings import JudgeSettings

REFERENCE_S = 900.0
"""Time before the canary in which stable's latency is measured [seconds]."""


@dataclass(frozen=True)
class NoForecast:
    """Why there is no forecast, and what to do about it."""

    reason: str
    fix: str = "A stage without traffic ends in a hold: send traffic to the endpoint, or wait for it."


def forecast(
    source: Source, stable: str, settings: JudgeSettings, *, weight: float, bake_s: float
) -> BakeForecast | NoForecast:
    """Forecast what the first stage can show at the traffic of the last minutes.

    There is none where the limits of the rate of requests disagree about whether the stage can decide, as when the
    traffic has just begun.

    Parameters
    ----------
    source
        Where requests are counted.
    stable
        Name of the deployment that serves now.
    settings
        How the canary is judged.
    weight
        Canary's share of live traffic in the first stage [percent].
    bake_s
        Longest bake of the stage [seconds].
    """
    until = datetime.now(UTC) - timedelta(seconds=settings.lag_s)
    seen = source.observe(until - timedelta(seconds=REFERENCE_S), until)
    served = seen.of(stable)
    if served is None or not seen.intervals or not served.requests:
        return NoForecast("no traffic in the last minutes")
    if served.failures == served.requests:
        return _all_failed(stable, served.requests)
    first, last = seen.intervals[0], seen.intervals[-1]
    requests = sum(one.requests for one in seen.total.values())
    rate = estimate_rate(requests, (last.end - first.start).total_seconds(), first.length_s)
    spread = math.log(served.p95_ms / served.p50_ms) / 1.645 if served.p50_ms and served.p95_ms else 0.0
    stage = PlannedStage(
        requests_per_minute=rate.per_minute,
        failure_rate=served.failures / served.requests,
        weight=weight,
        bake_minutes=bake_s / 60,
        log_latency_sd=max(spread, 0.05),
    )
    least, most = (
        forecast_bake(settings.criteria, replace(stage, requests_per_minute=limit)).decides
        for limit in (rate.least, rate.most)
    )
    if least != most:
        return _unknown(rate)
    return forecast_bake(settings.criteria, stage)


def _all_failed(stable: str, requests: int) -> NoForecast:
    return NoForecast(
        f"{stable} failed all of its {requests:,} requests of the last minutes",
        "A canary cannot be worse, and is judged by its limits alone. Roll back where a good version is left.",
    )


def _unknown(rate: Rate) -> NoForecast:
    return NoForecast(
        f"the rate of requests is not known yet: {rate}. The stage can decide at the highest rate, not at the "
        "lowest",
        "Run again when there was traffic for longer, or continue: a stage that cannot decide ends in a hold.",
    )


def reference_ms(
    source: Source, criteria: Criteria, stable: str, wait_s: float, progress: Progress
) -> tuple[float, ...]:
    """Measure stable's latency before the canary gets traffic; waits at most `wait_s`, while requests come in.

    From metrics there is none: the judge takes it from the first minutes.
    """
    deadline = datetime.now(UTC) + timedelta(seconds=wait_s)
    while True:
        now = datetime.now(UTC)
        since = now - timedelta(seconds=REFERENCE_S)
        found = quantiles_of(source, criteria, stable, since, now)
        if found or not source.per_request or now >= deadline or not source.observe(since, now).total:
            return found
        progress(f"waiting for traffic on {stable} to measure its latency")
        sleep(1.0)


def quantiles_of(
    source: Source, criteria: Criteria, stable: str, since: datetime, until: datetime
) -> tuple[float, ...]:
    """Return stable's latency between two times at the criteria's quantiles; empty where it is unknown [ms]."""
    latency = next(metric for metric in criteria.metrics if isinstance(metric, Latency))
    found = source.quantiles_ms(stable, since, until, latency.quantiles)
    return found if found and found[0] > 0 else ()
