"""What each deployment served, as a source reports it, and the results of the runbooks' own probes."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from opslib.displayed import Displayed

FAILURE_CODES = frozenset({408, 424, 429})
"""Scoring codes below 500 that count as the deployment's failures: timeout, model error, too many pending requests.

Source: "Troubleshoot online endpoints", HTTP status codes of managed online endpoints. 401 and 404 are the
caller's or the router's, not the deployment's.
"""

PROBE_PREFIX = "opslib-"
"""Prefix of the `x-ms-client-request-id` of opslib's own requests, by which users' traffic excludes them."""


def is_failure(status: int) -> bool:
    """Return whether a scoring status counts against the deployment that answered."""
    return status >= 500 or status in FAILURE_CODES


@dataclass(frozen=True)
class Served:
    """What one deployment served in one interval.

    `failures` counts answers for which `is_failure` holds. Latencies are measured at the gateway, over all answers;
    None where nothing was served. `above` is (threshold [ms], requests slower than it [count]), thresholds rising.
    """

    requests: int
    failures: int
    p50_ms: float | None = None
    p90_ms: float | None = None
    p95_ms: float | None = None
    p99_ms: float | None = None
    above: tuple[tuple[float, int], ...] = ()

    @property
    def failure_rate(self) -> float | None:
        """Failures per request [fraction]; None without requests."""
        return self.failures / self.requests if self.requests else None


@dataclass(frozen=True)
class ServedInterval:
    """What every deployment served in one interval of time; a deployment without an entry served nothing."""

    start: datetime
    length_s: float
    served: Mapping[str, Served]

    @property
    def end(self) -> datetime:
        """End of the interval."""
        return self.start + timedelta(seconds=self.length_s)


@dataclass(frozen=True)
class Observation(Displayed):
    """What was served between two times, according to one source.

    `total` covers the whole time; `intervals` cut the same time into the source's grain. `watermark` is the time
    up to which the source is known to be complete; None where it has no data yet.
    """

    source: str
    since: datetime
    until: datetime
    watermark: datetime | None
    total: Mapping[str, Served]
    intervals: tuple[ServedInterval, ...] = ()

    @property
    def complete(self) -> bool:
        """Whether the source has all data up to `until`."""
        return self.watermark is not None and self.watermark >= self.until

    def of(self, deployment: str) -> Served | None:
        """Return what a deployment served in the whole time; a source may write its name in another case."""
        return next((one for name, one in self.total.items() if name.lower() == deployment.lower()), None)


@dataclass(frozen=True)
class ProbeResult:
    """One request that the runbook sent itself; `deployment` answered it, empty where that is unknown.

    `client_request_id` is the id that was sent, `request_id` the one that the service gave the request; the
    request log has both.
    """

    sent_at: datetime
    status: int | None
    latency_ms: float
    deployment: str
    client_request_id: str
    problem: str = ""
    request_id: str = ""

    @property
    def ok(self) -> bool:
        """Whether the answer was the expected one."""
        return not self.problem

    def answered_by(self, deployment: str) -> bool:
        """Return whether the answer was the expected one, and a deployment's."""
        return self.ok and self.deployment.lower() == deployment.lower()
