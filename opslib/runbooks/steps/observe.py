"""Read what is served, from a source that may be late or unavailable."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opslib.azure.source import Source
from opslib.errors import ObserveError
from opslib.model import Observation


@dataclass(frozen=True)
class SourceReading:
    """One reading of a source.

    `over` is set once the watched time has passed and the source is complete, or the wait for late data is over
    (`waited_out`). `problem` is why the source could not be read; empty where it could.
    """

    observation: Observation
    over: bool
    waited_out: bool
    problem: str = ""


def read_source(
    source: Source,
    since: datetime,
    end: datetime,
    late_data_s: float,
    settle_s: float = 0.0,
    thresholds_ms: Sequence[float] = (),
) -> SourceReading:
    """Read a source once.

    A failed read neither ends a canary nor counts as an endpoint without traffic: the watermark stays unknown, so
    that the stage continues, and ends in a hold if the source stays unavailable.

    Parameters
    ----------
    source
        Where requests are counted.
    since, end
        The watched time; it may not have passed yet [UTC].
    late_data_s
        Longest wait for data after `end` [seconds].
    settle_s
        Age that numbers must have before they count [seconds].
    thresholds_ms
        Latencies above which to count, where the source counts requests [ms].
    """
    now = datetime.now(UTC)
    problem = ""
    try:
        observation = source.observe(since, min(now, end), thresholds_ms)
    except ObserveError as error:
        observation = Observation(source.name, since, min(now, end), watermark=None, total={})
        problem = str(error)
    settled = now >= end + timedelta(seconds=settle_s) and observation.complete
    waited_out = not settled and now >= end + timedelta(seconds=max(late_data_s, settle_s))
    return SourceReading(observation, settled or waited_out, waited_out, problem)


def pause_s(source: Source, length_s: float) -> float:
    """Return the time between two looks: the source's grain or a tenth of the watched time; 1 to 15 [seconds]."""
    return min(source.grain_s, 15.0, max(1.0, length_s / 10))
