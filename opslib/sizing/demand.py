"""What a deployment was measured to serve: its peak, how busy its instances were, and latency against load."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from statistics import median

from opslib.displayed import Displayed
from opslib.model import Load, Observation, Served, ServedInterval, busiest_load

NEAR = 1.25
"""Factor within which two loads count as alike: the p95 of one minute is noisy, several are averaged."""


@dataclass(frozen=True)
class LatencyPoint:
    """The 95th percentile at a load: requests that one instance worked on at once, on the mean [count]."""

    load: float
    p95_ms: float


@dataclass(frozen=True)
class LatencyCurve:
    """Latency against the load of one instance, as it was measured."""

    points: tuple[LatencyPoint, ...]

    @property
    def highest_load(self) -> float:
        """Highest load that was measured; 0 where nothing was."""
        return max((point.load for point in self.points), default=0.0)

    def p95_at(self, load: float) -> float | None:
        """Return the p95 at a load: the median of the points near it, else a line between its neighbours.

        None above what was measured: queues make latency rise faster than any line. Below it, the p95 of the lowest
        load measured is returned, which is no less than what a smaller load causes.

        Examples
        --------
        >>> curve = LatencyCurve((LatencyPoint(1.0, 50.0), LatencyPoint(3.0, 90.0)))
        >>> curve.p95_at(2.0), curve.p95_at(0.1), curve.p95_at(9.0)
        (70.0, 50.0, None)
        """
        if not self.points or load > self.highest_load * NEAR:
            return None
        near = [point.p95_ms for point in self.points if load / NEAR <= point.load <= load * NEAR]
        if near:
            return median(near)
        ordered = sorted(self.points, key=lambda point: point.load)
        above = next((point for point in ordered if point.load > load), ordered[-1])
        below = max((point for point in ordered if point.load < load), key=lambda point: point.load, default=above)
        if above.load == below.load:
            return below.p95_ms
        share = (load - below.load) / (above.load - below.load)
        return below.p95_ms + share * (above.p95_ms - below.p95_ms)


@dataclass(frozen=True)
class Utilization:
    """How busy the instances of a deployment were; None where Azure Monitor has no value.

    Attributes
    ----------
    cpu_percent, memory_percent, gpu_percent
        95th percentile of the minutes, mean over the instances [percent].
    throttled
        Requests that were refused with 429 [count].
    minutes
        Minutes with a value of CPU [count].
    """

    cpu_percent: float | None = None
    memory_percent: float | None = None
    gpu_percent: float | None = None
    throttled: int = 0
    minutes: int = 0

    @property
    def busiest(self) -> tuple[str, float] | None:
        """The processor that is used most, and its use [percent]; memory does not grow with requests alone."""
        known = {"CPU": self.cpu_percent, "GPU": self.gpu_percent}
        found = [(name, value) for name, value in known.items() if value is not None]
        return max(found, key=lambda one: one[1], default=None)


@dataclass(frozen=True)
class Demand(Displayed):
    """What one deployment had to serve, and how it did.

    Attributes
    ----------
    deployment, instance_type, instances, concurrent
        What served it; `concurrent` is max_concurrent_requests_per_instance [count].
    requests, failures
        In the whole time [count].
    peak
        The busiest interval; None where nothing was served.
    curve
        p95 against the load of one instance.
    utilization
        Of its instances.
    """

    deployment: str
    instance_type: str
    instances: int
    concurrent: int
    requests: int
    failures: int
    peak: Load | None
    curve: LatencyCurve
    utilization: Utilization

    @property
    def mean_s(self) -> float:
        """Mean latency in the busiest interval [seconds]."""
        return self.peak.concurrency / self.peak.requests_per_s if self.peak else 0.0

    @property
    def p95_ms(self) -> float | None:
        """The p95 at the peak; None where nothing was served."""
        return self.curve.p95_at(self.peak.concurrency / self.instances) if self.peak else None


def measured_demand(
    observation: Observation,
    deployment: str,
    instance_type: str,
    instances: int,
    concurrent: int,
    utilization: Utilization,
) -> Demand:
    """Return what an observation shows of one deployment, whose instances are taken as constant."""
    own = _only(observation, deployment)
    served = own.total.get(deployment)
    return Demand(
        deployment,
        instance_type,
        instances,
        max(1, concurrent),
        served.requests if served else 0,
        served.failures if served else 0,
        busiest_load(own),
        LatencyCurve(tuple(_points(own.intervals, observation, deployment, instances))),
        utilization,
    )


def with_points(demand: Demand, points: Iterable[LatencyPoint]) -> Demand:
    """Return the demand with more points of its curve."""
    return replace(demand, curve=LatencyCurve((*demand.curve.points, *points)))


def _only(observation: Observation, deployment: str) -> Observation:
    """Return the observation of one deployment; names ignore case."""

    def own(served: Mapping[str, Served]) -> dict[str, Served]:
        found = next((one for name, one in served.items() if name.lower() == deployment.lower()), None)
        return {deployment: found} if found else {}

    intervals = tuple(replace(one, served=own(one.served)) for one in observation.intervals)
    return replace(observation, total=own(observation.total), intervals=intervals)


def _points(
    intervals: Sequence[ServedInterval], observation: Observation, deployment: str, instances: int
) -> Iterable[LatencyPoint]:
    for interval in intervals:
        served = interval.served.get(deployment)
        alone = replace(observation, intervals=(interval,))
        load = busiest_load(alone) if served and served.p95_ms is not None else None
        if served and load and served.p95_ms is not None:
            yield LatencyPoint(load.concurrency / instances, served.p95_ms)
