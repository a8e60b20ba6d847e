"""From a source's intervals to the judge's."""

from collections.abc import Iterable
from dataclasses import replace

from opslib.azure.monitor_time import whole_minute
from opslib.judge import PUBLISHED, Arm, Interval
from opslib.model import ProbeResult, Served, ServedInterval, is_failure


def to_interval(served: ServedInterval, stable: str, canary: str, *, weight: float, per_request: bool) -> Interval:
    """Return one interval as the judge reads it; a deployment without an entry served nothing.

    Parameters
    ----------
    served
        What every deployment served.
    stable, canary
        Names of the two deployments.
    weight
        Canary's configured share of the two deployments' traffic [percent].
    per_request
        Whether the source has a row for each request.
    """
    by_name = {name.lower(): one for name, one in served.served.items()}
    nothing = Served(0, 0)
    return Interval(
        start_s=served.start.timestamp(),
        length_s=served.length_s,
        weight=weight,
        source="request log" if per_request else "metrics",
        stable=_arm(by_name.get(stable.lower(), nothing)),
        canary=_arm(by_name.get(canary.lower(), nothing)),
    )


def without_probes(interval: ServedInterval, sent: Iterable[ProbeResult]) -> ServedInterval:
    """Subtract the run's own probes from one minute of metrics, which count all requests.

    Percentiles stay as they are: a probe among many users' requests moves them little.
    """
    served = dict(interval.served)
    names = {name.lower(): name for name in served}
    for result in sent:
        name = names.get(result.deployment.lower())
        if name is None or result.status is None or whole_minute(result.sent_at, up=False) != interval.start:
            continue
        served[name] = _less(served[name], is_failure(result.status))
    return replace(interval, served=served)


def _less(seen: Served, failed: bool) -> Served:
    requests = max(0, seen.requests - 1)
    return replace(seen, requests=requests, failures=min(requests, max(0, seen.failures - failed)))


def counts_alone(interval: Interval) -> Interval:
    """Return an interval without latencies where each look counts them at thresholds of its own."""
    if interval.source == "metrics":
        return interval
    arms = {
        arm: replace(seen, above=(), percentiles_ms=())
        for arm, seen in (("stable", interval.stable), ("canary", interval.canary))
    }
    return replace(interval, stable=arms["stable"], canary=arms["canary"])


def _arm(served: Served) -> Arm:
    published = (served.p50_ms, served.p90_ms, served.p95_ms, served.p99_ms)
    known = [(q, float(ms)) for q, ms in zip(PUBLISHED, published, strict=True) if ms is not None]
    return Arm(
        requests=served.requests,
        failures=served.failures,
        above=served.above,
        percentiles_ms=() if served.above else tuple(known),
    )
