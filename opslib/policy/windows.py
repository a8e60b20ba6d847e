"""Change windows and freezes: whether a change may begin at a moment, and when it may next.

The rules are those of Argo CD's sync windows (argo-cd, docs/user-guide/sync_windows.md): an active freeze forbids;
where there are windows, one must be active; without any, every moment is allowed. A window is active from each
start of its schedule, for its duration. A change that began inside a window may finish outside it.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Protocol
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from cronsim import CronSim, CronSimError
from dateutil.rrule import rrulestr

from opslib.errors import PolicyError

_ANCHOR = datetime(2024, 1, 1)  # noqa: DTZ001 - a Monday, local to the schedule: where an RRULE without DTSTART begins
_UNTIL = re.compile(r"UNTIL=(?P<until>\d{8}T\d{6})Z", re.IGNORECASE)
_MAX_STARTS = 10_000
"""Starts of one schedule that are looked at: one a minute for a week [count]."""
_MAX_STEPS = 1000
"""Ends of freezes and starts of windows that are tried when looking for the next allowed moment [count]."""


class Window(Protocol):
    """When changes may begin: recurring starts in a time zone, each followed by a duration."""

    @property
    def schedule(self) -> str:
        """Five cron fields, or an RRULE (RFC 5545)."""

    @property
    def duration(self) -> timedelta:
        """How long the window is active from each start."""

    @property
    def time_zone(self) -> str:
        """IANA name of the zone that the schedule is in."""


class Freeze(Protocol):
    """When no change may begin."""

    @property
    def starts(self) -> datetime:
        """First moment."""

    @property
    def ends(self) -> datetime:
        """First moment after it."""

    @property
    def reason(self) -> str:
        """Why, for the person who is refused."""


@dataclass(frozen=True)
class WindowDecision:
    """Whether a change may begin at a moment.

    Attributes
    ----------
    allowed
        Whether it may.
    reason
        Which window or freeze decides.
    until
        When the window or freeze ends; None where nothing limits the moment [UTC].
    opens
        When a change may next begin, where it may not now; None if no such moment was found [UTC].
    """

    allowed: bool
    reason: str
    until: datetime | None = None
    opens: datetime | None = None


def decide_window(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> WindowDecision:
    """Decide whether a change may begin now, and if not, when it may next."""
    decision = _decide(windows, freezes, now)
    if decision.allowed:
        return decision
    return WindowDecision(False, decision.reason, decision.until, _next_allowed(windows, freezes, now))


def require_schedule(schedule: str, time_zone: str) -> None:
    """Refuse a schedule that is neither five cron fields nor an RRULE, or a time zone that does not exist.

    Raises
    ------
    PolicyError
        With what was expected and an example.
    """
    try:
        next(_starts(schedule, time_zone, datetime(2026, 1, 1, tzinfo=UTC)), None)
    except (ZoneInfoNotFoundError, OSError) as error:
        raise PolicyError(
            f"{time_zone!r} is not a time zone: expected an IANA name such as Europe/Berlin"
        ) from error
    except (CronSimError, ValueError, TypeError, KeyError) as error:
        raise PolicyError(
            f"{schedule!r} is not a schedule ({error or type(error).__name__}): expected cron such as "
            "'0 9 * * 1-5', or an RRULE such as 'FREQ=WEEKLY;BYDAY=TU,TH;BYHOUR=9'"
        ) from error


def active_until(window: Window, now: datetime) -> datetime | None:
    """Return the end of a window's active period, or None where it is not active now [UTC]."""
    starts = _starts(window.schedule, window.time_zone, now - window.duration)
    ends = [start + window.duration for start in _before(starts, now)]
    return max(ends, default=None)


def _decide(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> WindowDecision:
    for freeze in freezes:
        if freeze.starts <= now < freeze.ends:
            return WindowDecision(False, f"change freeze until {_shown(freeze.ends)}: {freeze.reason}", freeze.ends)
    if not windows:
        return WindowDecision(True, "no change windows are set: every moment is allowed")
    ends = [(end, window) for window in windows if (end := active_until(window, now)) is not None]
    if not ends:
        named = ", ".join(f"'{w.schedule}' ({w.time_zone}) for {_length(w.duration)}" for w in windows)
        return WindowDecision(False, f"outside the change windows: {named}")
    end, window = max(ends, key=lambda pair: pair[0])
    return WindowDecision(
        True, f"inside the window '{window.schedule}' ({window.time_zone}) until {_shown(end)}", end
    )


def _next_allowed(windows: Sequence[Window], freezes: Sequence[Freeze], now: datetime) -> datetime | None:
    """Step from the end of one freeze or the start of one window to the next until one is allowed."""
    moment = now
    for _ in range(_MAX_STEPS):
        decision = _decide(windows, freezes, moment)
        if decision.allowed:
            return moment
        starts = (next(_starts(w.schedule, w.time_zone, moment), None) for w in windows)
        later = decision.until or min((start for start in starts if start is not None), default=None)
        if later is None:
            return None
        moment = later
    return None


def _starts(schedule: str, time_zone: str, after: datetime) -> Iterator[datetime]:
    """Yield a schedule's starts after a moment, in order [UTC]."""
    zone = ZoneInfo(time_zone)
    local = after.astimezone(zone)
    if "FREQ=" not in schedule.upper():
        yield from (start.astimezone(UTC) for start in CronSim(schedule, local))
        return
    rule = rrulestr(_UNTIL.sub(lambda found: _local_until(found, zone), schedule), dtstart=_ANCHOR)
    # a local time that a change of clocks skips or repeats is taken once, by its offset before the change
    for start in rule.xafter(local.replace(tzinfo=None) - timedelta(hours=2)):
        moment = start.replace(tzinfo=zone).astimezone(UTC)
        if moment > after:
            yield moment


def _local_until(found: re.Match[str], zone: ZoneInfo) -> str:
    """Return an end in UTC, as calendars write it, in the schedule's own time, in which its starts are."""
    until = datetime.strptime(found["until"], "%Y%m%dT%H%M%S").replace(tzinfo=UTC)
    return f"UNTIL={until.astimezone(zone):%Y%m%dT%H%M%S}"


def _before(starts: Iterator[datetime], now: datetime) -> Iterator[datetime]:
    for start in islice(starts, _MAX_STARTS):
        if start > now:
            return
        yield start


def _shown(moment: datetime) -> str:
    return f"{moment.astimezone(UTC):%Y-%m-%d %H:%M} UTC"


def _length(duration: timedelta) -> str:
    hours = duration.total_seconds() / 3600
    return f"{hours:g} h" if hours >= 1 else f"{hours * 60:g} min"
