"""The intervals judged lately, compared at each look with what the source returns for them now."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from math import ceil

from opslib.judge import Interval, Revision, revisions
from opslib.model import Served, ServedInterval
from opslib.runbooks.canary.source_intervals import counts_alone

REREAD_S = 900.0
"""Age up to which a judged interval is read again and compared [seconds].

Rows of a request log arrive up to a few minutes late, metrics up to 5 minutes. Source: Microsoft Learn, "Log data
ingestion time". A look reads this much again however long the stage lasts, so that its cost does not grow.
"""


class JudgedIntervals:
    """The intervals of one stage that were judged in the last `REREAD_S`.

    Parameters
    ----------
    per_request
        Whether the source has a row for each request. Then only requests and failures are compared: the latencies
        above which it counts may change from look to look.
    """

    def __init__(self, *, per_request: bool) -> None:
        self.revised = 0
        """Revisions found so far [count]."""
        self._per_request = per_request
        self._counts: dict[datetime, _Counts] = {}
        self._judged: dict[datetime, Interval] = {}
        self._found: tuple[Revision, ...] = ()

    def read_from(self, began: datetime, grain_s: float) -> datetime:
        """Return the time from which the next look reads the source, in a stage that began at `began`."""
        if not self._judged:
            return began
        kept_s = grain_s * ceil(REREAD_S / grain_s)
        return max(began, max(self._judged) - timedelta(seconds=kept_s))

    @property
    def since(self) -> datetime:
        """Start of the oldest interval that is read again; the year 1 before there is one."""
        return min(self._judged, default=datetime.min.replace(tzinfo=UTC))

    def add(self, served: Sequence[ServedInterval], fresh: Sequence[Interval]) -> None:
        """Keep what a look judged, among what was served, and forget what is no longer read again."""
        judged = {datetime.fromtimestamp(interval.start_s, UTC): counts_alone(interval) for interval in fresh}
        self._judged |= judged
        self._counts |= {one.start: self._count(one) for one in served if one.start in judged}
        if not self._judged:
            return
        since = max(self._judged) - timedelta(seconds=REREAD_S)
        self._judged = {start: interval for start, interval in self._judged.items() if start >= since}
        self._counts = {start: counts for start, counts in self._counts.items() if start >= since}
        self._found = tuple(one for one in self._found if one.start_s >= since.timestamp())

    def find_revised(
        self, served: Sequence[ServedInterval], to_interval: Callable[[ServedInterval], Interval]
    ) -> tuple[Revision, ...]:
        """Return the revisions that are new in what the source returned; an interval cut elsewhere is none."""
        now = {one.start: self._count(one) for one in served}
        changed = {start for start, counts in self._counts.items() if now.get(start) != counts}
        if not now or not changed:
            return ()
        compared = changed | {min(now), max(now)}  # the ends bound what was read
        found = revisions(
            [self._judged[start] for start in sorted(changed)],
            [counts_alone(to_interval(one)) for one in served if one.start in compared],
        )
        fresh = tuple(
            one
            for one in found
            if (one.now is None or one.now.length_s == one.judged.length_s) and one not in self._found
        )
        self._found += fresh
        self.revised += len(fresh)
        return fresh

    def _count(self, interval: ServedInterval) -> "_Counts":
        return {
            name: (seen.requests, seen.failures) if self._per_request else seen
            for name, seen in interval.served.items()
        }


_Counts = dict[str, tuple[int, int] | Served]
"""What of an interval must not change after it was judged, by deployment."""
