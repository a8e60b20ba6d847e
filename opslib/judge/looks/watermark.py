"""Which intervals may be judged: closed, complete, not yet judged; and what changed in those that were."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from opslib.judge.values.interval import Interval
from opslib.judge.values.state import State


@dataclass(frozen=True, kw_only=True)
class Revision:
    """An interval whose counts differ from those that were judged: recorded, never judged again.

    Attributes
    ----------
    start_s
        Start of the interval, seconds since 1970-01-01 UTC [seconds].
    judged, now
        The interval as judged and as read now; None if it is missing now.
    """

    start_s: float
    judged: Interval
    now: Interval | None


def settled_intervals(
    intervals: Sequence[Interval],
    state: State,
    *,
    now_s: float,
    lag_s: float,
    zero_lag_s: float | None = None,
) -> tuple[Interval, ...]:
    """Keep the intervals that can be judged now, in order.

    Parameters
    ----------
    intervals
        What the source returned, in any order.
    state
        Holds the time up to which intervals were judged.
    now_s
        Present time, seconds since 1970-01-01 UTC [seconds].
    lag_s
        Age that an interval's end must have: later numbers may still be counted into a younger one. Azure Monitor
        needs about 240; a request log its ingestion delay [seconds].
    zero_lag_s
        Age up to which an arm without requests is taken as "not counted yet" rather than as zero; None is twice
        `lag_s` [seconds].

    Returns
    -------
    intervals
        Rising by start. An interval that must wait holds back every later one, so that none is skipped: once a
        later interval is judged, an earlier one is lost.
    """
    settled = 2.0 * lag_s if zero_lag_s is None else zero_lag_s
    fresh = [each for each in intervals if state.last_end_s is None or each.start_s >= state.last_end_s - 1e-3]
    kept: list[Interval] = []
    for interval in sorted(fresh, key=lambda each: each.start_s):
        age = now_s - interval.end_s
        empty = interval.stable.requests == 0 or (interval.canary.requests == 0 and interval.weight > 0)
        if age < lag_s or (empty and age < settled):
            break
        kept.append(interval)
    return tuple(kept)


def after_warm_up(intervals: Sequence[Interval], state: State, warm_up_s: float) -> tuple[Interval, ...]:
    """Keep the intervals that start after the warm-up, which begins with the canary's first request.

    Parameters
    ----------
    intervals
        Intervals that are about to be judged.
    state
        The state before them.
    warm_up_s
        Length of the warm-up [seconds].
    """
    first_s = state.first_canary_s
    if first_s is None:
        first_s = min((one.start_s for one in intervals if one.canary.requests), default=math.inf)
    return tuple(one for one in intervals if one.start_s >= first_s + warm_up_s - 1e-3)


def revisions(judged: Sequence[Interval], now: Sequence[Interval]) -> tuple[Revision, ...]:
    """List the judged intervals whose counts changed, or that are missing within the range of `now`."""
    fresh = {each.start_s: each for each in now}
    if not fresh:
        return ()
    low, high = min(fresh), max(fresh)
    return tuple(
        Revision(start_s=old.start_s, judged=old, now=fresh.get(old.start_s))
        for old in judged
        if low <= old.start_s <= high and fresh.get(old.start_s) != old
    )
