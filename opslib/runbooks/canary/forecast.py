"""Before a canary: what stable served in the last minutes, and what a bake at that traffic can show."""

import math
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.azure.arm import Progress
from opslib.azure.source import Source
from opslib.judge import BakeForecast, Criteria, Latency, PlannedStage, forecast_bake
from opslib.runbooks.canary.judge_settings import JudgeSettings

REFERENCE_S = 900.0
"""Time before the canary in which stable's latency is measured [seconds]."""


def forecast(
    source: Source, stable: str, settings: JudgeSettings, *, weight: float, bake_s: float
) -> BakeForecast | None:
    """Forecast what the first stage can show at the traffic of the last minutes; None where there was none.

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
    served = next((one for name, one in seen.total.items() if name.lower() == stable.lower()), None)
    if served is None or not seen.intervals or not served.requests:
        return None
    minutes = (seen.intervals[-1].end - seen.intervals[0].start).total_seconds() / 60
    spread = math.log(served.p95_ms / served.p50_ms) / 1.645 if served.p50_ms and served.p95_ms else 0.0
    stage = PlannedStage(
        requests_per_minute=sum(one.requests for one in seen.total.values()) / minutes,
        failure_rate=served.failures / served.requests,
        weight=weight,
        bake_minutes=bake_s / 60,
        log_latency_sd=max(spread, 0.05),
    )
    return forecast_bake(settings.criteria, stage)


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
