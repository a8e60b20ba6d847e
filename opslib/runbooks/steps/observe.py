"""Watch what is served, without trusting a source that is silent or late."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from opslib.azure.source import Source
from opslib.errors import ObserveError
from opslib.model import Observation


@dataclass(frozen=True)
class SourceReading:
    """One look at a source.

    `over` says that the time to be watched has passed and the source has shown all of it, or was waited for in vain
    (`waited_out`). `problem` says why the source could not be read; empty where it could.
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

    One failed read must neither end a canary nor count as a look at a quiet endpoint: the watermark stays unknown,
    so that the stage goes on, and ends in a hold if the source stays silent.

    Parameters
    ----------
    source
        Who says what was served.
    since, end
        The time to be watched; it may not have passed yet [UTC].
    late_data_s
        Longest wait for data after `end` [seconds].
    settle_s
        Age that numbers must have before they count [seconds].
    thresholds_ms
        Latencies at which to count, where the source counts requests [ms].
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
    """Time between two looks: the source's grain, or a tenth of what is watched; 1 to 15 [seconds]."""
    return min(source.grain_s, 15.0, max(1.0, length_s / 10))
