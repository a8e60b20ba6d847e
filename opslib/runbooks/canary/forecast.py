"""Before a canary: what stable served in the last minutes, and what a bake at that traffic can show."""

import math
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.azure.source import Source
from opslib.judge import BakeForecast, Criteria, Latency, PlannedStage, forecast_bake
from opslib.model import Endpoint
from opslib.parameters import CanaryParameters
from opslib.runbooks.canary.judge_settings import criteria_of
from opslib.runbooks.run import Run

REFERENCE_S = 900.0
"""Time before the canary in which stable's quantiles are measured [seconds]."""


def forecast(run: Run[CanaryParameters], source: Source, before: Endpoint) -> BakeForecast | None:
    """Say what the first stage can show at the traffic of the last minutes; None where there was none."""
    p, stable = run.parameters, before.stable or ""
    if p.stages[0] >= 100:
        return None  # nothing is left to compare with
    until = datetime.now(UTC) - timedelta(seconds=max(p.settle_s, source.least_lag_s))
    seen = source.observe(until - timedelta(seconds=REFERENCE_S), until)
    served = next((one for name, one in seen.total.items() if name.lower() == stable.lower()), None)
    if served is None or not seen.intervals or not served.requests:
        return None
    minutes = (seen.intervals[-1].end - seen.intervals[0].start).total_seconds() / 60
    spread = math.log(served.p95_ms / served.p50_ms) / 1.645 if served.p50_ms and served.p95_ms else 0.0
    outlook = PlannedStage(
        requests_per_minute=sum(one.requests for one in seen.total.values()) / minutes,
        failure_rate=served.failures / served.requests,
        weight=float(p.stages[0]),
        bake_minutes=max(p.bake_s, p.max_bake_s) / 60,
        log_latency_sd=max(spread, 0.05),
    )
    return forecast_bake(criteria_of(p, source.name), outlook)


def reference_ms(run: Run[CanaryParameters], source: Source, criteria: Criteria, stable: str) -> tuple[float, ...]:
    """Stable's quantiles before the canary gets traffic, waited for while requests come in, as long as a bake.

    From metrics there are none: the judge takes them from the first minutes.
    """
    deadline = datetime.now(UTC) + timedelta(seconds=run.parameters.bake_s)
    while True:
        now = datetime.now(UTC)
        since = now - timedelta(seconds=REFERENCE_S)
        found = quantiles_of(source, criteria, stable, since, now)
        if found or source.name == "metrics" or now >= deadline or not source.observe(since, now).total:
            return found
        run.say(f"waiting for requests of {stable}, to know its latencies")
        sleep(1.0)


def quantiles_of(
    source: Source, criteria: Criteria, stable: str, since: datetime, until: datetime
) -> tuple[float, ...]:
    """Stable's latencies between two times, at the criteria's quantiles; empty where they are not known [ms]."""
    latency = next(metric for metric in criteria.metrics if isinstance(metric, Latency))
    found = source.quantiles_ms(stable, since, until, latency.quantiles)
    return found if found and found[0] > 0 else ()
