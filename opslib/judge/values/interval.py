"""What one interval of traffic served, per version: the values that come in."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from functools import cached_property
from itertools import pairwise
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from opslib.errors import JudgeError

Source = Literal["request log", "metrics", "probes"]
SOURCES: tuple[Source, ...] = ("request log", "metrics", "probes")


@dataclass(frozen=True, kw_only=True)
class Arm:
    """Counts of one version in one interval.

    Attributes
    ----------
    requests
        Requests that the version got, timed-out ones included; >= 0 [count].
    failures
        Requests that failed; 0 <= failures <= requests [count].
    timed
        Requests whose latency is known; None means all of them [count].
    above
        (threshold [ms], requests slower than it [count]), thresholds rising. Exact, from a request log.
    samples_ms
        Latency of each timed request, in any order [ms]. Exact; used instead of `above` where it is not empty.
    percentiles_ms
        (fraction, latency at it [ms]), rising. What Azure Monitor publishes; used where the two above are empty.
    outcomes
        (name, trials, bad) of yes/no business outcomes, by the interval in which the request was made.
    moments
        (name, n, mean, variance) of business measures [their own unit], by the interval in which the request was
        made; the variance within the interval.
    changed_answers
        (sent, changed) golden or mirrored requests and those answered differently from stable [count].
    """

    requests: int
    failures: int = 0
    timed: int | None = None
    above: tuple[tuple[float, int], ...] = ()
    samples_ms: tuple[float, ...] = ()
    percentiles_ms: tuple[tuple[float, float], ...] = ()
    outcomes: tuple[tuple[str, int, int], ...] = ()
    moments: tuple[tuple[str, int, float, float], ...] = ()
    changed_answers: tuple[int, int] = (0, 0)

    def __post_init__(self) -> None:
        """Refuse counts that contradict each other."""
        if not 0 <= self.failures <= self.requests:
            raise JudgeError(f"failures must be between 0 and requests ({self.requests}), got {self.failures}")
        for name, trials, bad in self.outcomes:
            if not 0 <= bad <= trials:
                raise JudgeError(f"outcome {name!r}: bad must be between 0 and trials ({trials}), got {bad}")
        if any(not 0 <= count <= self.latency_n for _, count in self.above):
            raise JudgeError(f"`above` must be between 0 and the {self.latency_n} timed requests, got {self.above}")
        if any(later[0] <= cut or later[1] > count for (cut, count), later in pairwise(self.above)):
            raise JudgeError(f"`above` must have rising thresholds and falling counts, got {self.above}")

    @property
    def latency_n(self) -> int:
        """Requests whose latency is known [count]."""
        if self.samples_ms:
            return len(self.samples_ms)
        return self.requests if self.timed is None else self.timed

    @cached_property
    def latencies_ms(self) -> NDArray[np.float64]:
        """`samples_ms` as an array, which is counted at many thresholds [ms]."""
        return np.asarray(self.samples_ms, dtype=np.float64)


@dataclass(frozen=True, kw_only=True)
class Interval:
    """Traffic of both versions over the same stretch of time.

    Attributes
    ----------
    start_s
        Start, seconds since 1970-01-01 UTC [seconds].
    length_s
        Length; > 0 [seconds].
    weight
        Share of traffic that the endpoint was configured to send to the canary [percent].
    stable, canary
        What each version served.
    source
        Where the numbers come from; own probes are never mixed with users' traffic in one interval.
    paired
        Discordant pairs of the same request sent to both: (only canary failed, only stable failed) [count].
    """

    start_s: float
    length_s: float
    weight: float
    stable: Arm
    canary: Arm
    source: Source = "request log"
    paired: tuple[int, int] | None = None

    def __post_init__(self) -> None:
        """Refuse an interval that is not a stretch of time."""
        if not self.length_s > 0:
            raise JudgeError(f"length_s must be above 0, got {self.length_s}")
        if not 0 <= self.weight <= 100:
            raise JudgeError(f"weight must be within 0..100 percent, got {self.weight}")
        if self.source not in SOURCES:
            raise JudgeError(f"source must be one of {SOURCES}, got {self.source!r}")

    @property
    def end_s(self) -> float:
        """End of the interval, seconds since 1970-01-01 UTC [seconds]."""
        return self.start_s + self.length_s


def to_record(interval: Interval) -> dict[str, Any]:
    """Write an interval as JSON values, without empty fields."""
    arms = {
        role: {key: value for key, value in asdict(arm).items() if value not in ((), None, (0, 0))}
        for role, arm in (("stable", interval.stable), ("canary", interval.canary))
    }
    record = {"start_s": interval.start_s, "length_s": interval.length_s, "weight": interval.weight}
    paired = {} if interval.paired is None else {"paired": list(interval.paired)}
    return {**record, "source": interval.source, **paired, **arms}


def from_record(record: Mapping[str, Any]) -> Interval:
    """Read an interval back; `start_s` may be seconds since 1970 or an ISO 8601 time with an offset."""
    start = record["start_s"]
    paired = record.get("paired")
    return Interval(
        start_s=_epoch(start) if isinstance(start, str) else float(start),
        length_s=float(record["length_s"]),
        weight=float(record["weight"]),
        source=record.get("source", "request log"),
        paired=None if paired is None else (int(paired[0]), int(paired[1])),
        stable=_arm(record["stable"]),
        canary=_arm(record["canary"]),
    )


def _arm(record: Mapping[str, Any]) -> Arm:
    rows = {key: tuple(tuple(row) for row in record.get(key, ())) for key in _ROWS}
    changed = record.get("changed_answers", (0, 0))
    return Arm(
        requests=int(record["requests"]),
        failures=int(record.get("failures", 0)),
        timed=record.get("timed"),
        samples_ms=tuple(record.get("samples_ms", ())),
        changed_answers=(int(changed[0]), int(changed[1])),
        **rows,
    )


_ROWS = ("above", "percentiles_ms", "outcomes", "moments")


def _epoch(text: str) -> float:
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise JudgeError(f"start_s must include its offset from UTC, got {text!r}: append Z")
    return moment.timestamp()
