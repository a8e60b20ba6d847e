"""The forecast of a bake: known as soon as the rate of requests decides it, and unknown before."""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
import scipy

from opslib.azure.request_log import RequestLog
from opslib.judge import BakeForecast, estimate_rate
from opslib.model import Level, Observation, Served, ServedInterval
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.forecast import NoForecast, forecast
from opslib.runbooks.canary.judge_settings import judge_settings
from opslib.runbooks.steps.preflight import check_bake

NO_WORKSPACE: Any = None
"""Nothing here reads an endpoint."""


@dataclass(frozen=True)
class Lately(RequestLog):
    """A log of as many requests in each of the last intervals."""

    counts: tuple[int, ...] = ()
    failed: float = 0.0

    def observe(self, since, until, thresholds_ms=()):
        del thresholds_ms
        starts = [until - timedelta(seconds=self.grain_s * n) for n in range(len(self.counts), 0, -1)]
        served = [Served(count, int(self.failed * count), p50_ms=5.0, p95_ms=9.0) for count in self.counts]
        intervals = tuple(
            ServedInterval(start, self.grain_s, {"blue": one})
            for start, one in zip(starts, served, strict=True)
            if one.requests
        )
        total = (
            {"blue": Served(sum(self.counts), int(self.failed * sum(self.counts)), p50_ms=5.0, p95_ms=9.0)}
            if intervals
            else {}
        )
        return Observation(self.name, since, until, until, total, intervals)


def foresee(
    *counts: int, grain_s: float = 1.0, bake_s: float = 40.0, failed: float = 0.0
) -> BakeForecast | NoForecast:
    """Forecast a first stage of 50 % after these counts."""
    parameters = CanaryParameters.check(
        {"endpoint": "fraud", "canary": "green", "max_failure_rate": 0.03, "latency_mode": "observe"}
    )
    source = Lately(NO_WORKSPACE, "/fraud", grain_s, counts=counts, failed=failed)
    return forecast(source, "Blue", judge_settings(parameters, source), weight=50.0, bake_s=bake_s)


def test_a_second_of_traffic_is_no_rate():
    """Clients that have just begun: most of the first interval was before their first request."""
    found = foresee(3)
    assert isinstance(found, NoForecast)
    assert "not known yet: 3 in 1 s, which is at least 37 a minute" in found.reason
    finding = check_bake(None, found.reason, found.fix)
    assert (finding.level, finding.fix) == (Level.WARNING, found.fix)


@pytest.mark.parametrize(("counts", "decides"), [((20,) * 60, True), ((1,) * 60, False)])
def test_a_minute_of_traffic_decides(counts, decides):
    """A busy endpoint can decide; a quiet one blocks, as before."""
    found = foresee(*counts)
    assert isinstance(found, BakeForecast)
    assert found.decides is decides
    assert check_bake(found).level is (Level.OK if decides else Level.BLOCKER)


def test_few_requests_are_enough_where_no_rate_that_fits_them_would_do():
    """Three requests in ten minutes are no traffic that has just begun."""
    found = foresee(1, *[0] * 60, 1, *[0] * 57, 1, grain_s=5.0)
    assert isinstance(found, BakeForecast)
    assert not found.decides


def test_a_canary_of_a_version_that_fails_every_request_has_no_forecast():
    """It is the fix of a version that is down: its run ended in an OverflowError before it began."""
    found = foresee(*(20,) * 60, failed=1.0)
    assert isinstance(found, NoForecast)
    assert found.reason == "Blue failed all of its 1,200 requests of the last minutes"
    assert isinstance(foresee(*(20,) * 60, failed=0.95), BakeForecast)


def test_without_traffic_there_is_no_forecast():
    found = foresee(0, 0)
    assert isinstance(found, NoForecast)
    assert found.reason == "no traffic in the last minutes"


def test_limits_of_a_rate_are_those_of_a_poisson_count():
    """Garwood's limits: a count as high or as low has a probability of 2.5 % at each of them."""
    rate = estimate_rate(20, 10.0, 1.0)
    assert rate.per_minute == 120
    assert scipy.stats.poisson(rate.least / 6).sf(19) == pytest.approx(0.025)
    assert scipy.stats.poisson(rate.most * 9 / 60).cdf(20) == pytest.approx(0.025)
    assert str(rate) == "20 in 10 s, which is 73 to 206 a minute"
    hundred = estimate_rate(100, 100.0, 1e-9)
    assert (hundred.least / hundred.per_minute, hundred.most / hundred.per_minute) == pytest.approx(
        (0.81, 1.22), abs=0.005
    )
