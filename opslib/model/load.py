"""The load of an endpoint: requests per second, and how many of them are worked on at once."""

import math
from dataclasses import dataclass

from opslib.model.served import Observation, Served, ServedInterval

FEWEST_SECONDS = 30.0
"""Shortest interval that counts as a busiest one: an interval cut to a second is not typical [seconds]."""

_Z95 = 1.645
"""Standard normal quantile of 95 %."""


@dataclass(frozen=True)
class Load:
    """What all deployments of an endpoint served together in the busiest interval of an observation.

    Attributes
    ----------
    requests_per_s
        Rate of requests.
    concurrency
        Mean number of requests that are worked on at once: rate times mean latency (Little's law).
    source
        Where it was counted, with the length of the interval and of the observation.
    """

    requests_per_s: float
    concurrency: float
    source: str

    def share(self, weight: float) -> float:
        """Return the concurrency of a share of the traffic, given in percent."""
        return self.concurrency * weight / 100


def busiest_load(observation: Observation) -> Load | None:
    """Return the load of the interval with the highest concurrency; None where nothing was served.

    The mean latency is that of a log-normal distribution with the measured p50 and p95.

    Examples
    --------
    >>> from datetime import UTC, datetime, timedelta
    >>> start = datetime(2026, 1, 1, tzinfo=UTC)
    >>> minute = ServedInterval(start, 60.0, {"blue": Served(1200, 0, 50.0, 80.0, 100.0, 120.0)})
    >>> seen = Observation("request log", start, start + timedelta(minutes=1), None, minute.served, (minute,))
    >>> load = busiest_load(seen)
    >>> load.requests_per_s, round(load.concurrency, 2)
    (20.0, 1.09)
    """
    whole = [one for one in observation.intervals if one.length_s >= FEWEST_SECONDS]
    loads = [(_rate(one), _concurrency(one), one.length_s) for one in whole or observation.intervals]
    busy = [one for one in loads if one[0] > 0]
    if not busy:
        return None
    rate, concurrency, length_s = max(busy, key=lambda one: (one[1], one[0]))
    minutes = (observation.until - observation.since).total_seconds() / 60
    return Load(
        rate, concurrency, f"busiest {length_s:.0f} s of the last {minutes:.0f} minutes, {observation.source}"
    )


def _rate(interval: ServedInterval) -> float:
    return sum(one.requests for one in interval.served.values()) / interval.length_s if interval.length_s else 0.0


def _concurrency(interval: ServedInterval) -> float:
    busy_ms = sum(one.requests * _mean_ms(one) for one in interval.served.values())
    return busy_ms / 1000 / interval.length_s if interval.length_s else 0.0


def _mean_ms(served: Served) -> float:
    if not served.p50_ms:
        return 0.0
    spread = math.log(max(served.p95_ms or 0.0, served.p50_ms) / served.p50_ms) / _Z95
    return served.p50_ms * math.exp(spread**2 / 2)
