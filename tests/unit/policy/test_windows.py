"""Change windows and freezes, at the moments where they begin and end and where clocks change."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from opslib.errors import PolicyError
from opslib.policy.windows import active_until, decide_window, require_schedule


@dataclass(frozen=True)
class Window:
    schedule: str
    duration: timedelta = timedelta(hours=4)
    time_zone: str = "UTC"


@dataclass(frozen=True)
class Freeze:
    starts: datetime
    ends: datetime
    reason: str = "year end"


def at(text):
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


WEEKDAYS = Window("0 9 * * 1-5")
SAME_BY_RRULE = Window("FREQ=WEEKLY;BYDAY=MO,TU,WE,TH,FR;BYHOUR=9;BYMINUTE=0;BYSECOND=0")
DECEMBER = Freeze(at("2026-12-20"), at("2027-01-04"))


def test_without_windows_every_moment_is_allowed():
    """A policy need not have windows."""
    assert decide_window((), (), at("2026-11-27T03:00")).allowed


@pytest.mark.parametrize("window", [WEEKDAYS, SAME_BY_RRULE], ids=["cron", "rrule"])
@pytest.mark.parametrize(
    ("now", "until"),
    [
        ("2026-11-27T08:59:59", None),  # a Friday
        ("2026-11-27T09:00:00", "2026-11-27T13:00"),
        ("2026-11-27T12:59:59", "2026-11-27T13:00"),
        ("2026-11-27T13:00:00", None),
        ("2026-11-28T10:00:00", None),
    ],
)
def test_a_window_is_open_from_its_start_for_its_duration(window, now, until):
    """The start is inside, the end is outside; cron and RRULE agree."""
    assert active_until(window, at(now)) == (at(until) if until else None)
    assert decide_window([window], (), at(now)).allowed is (until is not None)


def test_a_schedule_may_end_at_a_time_in_utc():
    """As calendars write it; the start at nine in Berlin is at eight, and the last one is on that Friday."""
    window = Window("FREQ=DAILY;BYHOUR=9;UNTIL=20261127T080000Z", time_zone="Europe/Berlin")
    require_schedule(window.schedule, window.time_zone)
    assert active_until(window, at("2026-11-27T08:30")) == at("2026-11-27T12:00")
    assert active_until(window, at("2026-11-28T08:30")) is None


@pytest.mark.parametrize("window", [WEEKDAYS, SAME_BY_RRULE], ids=["cron", "rrule"])
def test_a_refusal_says_when_a_change_may_begin(window):
    """On a Friday afternoon: on Monday at nine."""
    decision = decide_window([window], (), at("2026-11-27T15:00"))
    assert not decision.allowed
    assert window.schedule in decision.reason
    assert decision.opens == at("2026-11-30T09:00")


def test_a_freeze_forbids_inside_a_window_and_ends_by_itself():
    """Its last moment is refused, the next is not; the first window after it is named."""
    assert not decide_window([WEEKDAYS], [DECEMBER], at("2026-12-21T10:00")).allowed
    decision = decide_window([WEEKDAYS], [DECEMBER], at("2027-01-03T23:59:59"))
    assert "year end" in decision.reason
    assert decision.until == at("2027-01-04")
    assert decision.opens == at("2027-01-04T09:00")
    assert decide_window((), [DECEMBER], at("2027-01-04")).allowed


def test_a_window_is_in_its_own_time_zone_on_both_sides_of_a_change_of_clocks():
    """Nine in Berlin is eight in UTC in winter, seven in summer; the day of the change is no exception."""
    for schedule in ("0 9 * * *", "FREQ=DAILY;BYHOUR=9;BYMINUTE=0;BYSECOND=0"):
        berlin = Window(schedule, timedelta(hours=1), "Europe/Berlin")
        assert active_until(berlin, at("2026-01-15T08:30"))
        assert active_until(berlin, at("2026-07-15T07:30"))
        assert active_until(berlin, at("2026-07-15T08:30")) is None
        assert active_until(berlin, at("2026-03-29T07:30"))  # clocks went forward that night
        assert active_until(berlin, at("2026-10-25T08:30"))  # and back


def test_overlapping_windows_are_open_until_the_last_ends():
    """The longer one decides."""
    late = Window("0 12 * * *", timedelta(hours=6))
    decision = decide_window([WEEKDAYS, late], (), at("2026-11-27T12:30"))
    assert decision.until == at("2026-11-27T18:00")


def test_a_window_that_never_opens_is_said_to_have_no_next_moment():
    """The thirtieth of February."""
    decision = decide_window([Window("FREQ=YEARLY;BYMONTH=2;BYMONTHDAY=30;UNTIL=20300101")], (), at("2026-11-27"))
    assert not decision.allowed
    assert decision.opens is None


@pytest.mark.parametrize(
    ("schedule", "zone", "message"),
    [
        ("0 9 * *", "UTC", "is not a schedule"),
        ("61 9 * * *", "UTC", "is not a schedule"),
        ("FREQ=SOMETIMES", "UTC", "is not a schedule"),
        ("FREQ=DAILY;BYHOUR=99", "UTC", "is not a schedule"),
        ("0 9 * * *", "Europe/Nowhere", "is not a time zone"),
    ],
)
def test_a_schedule_that_is_none_is_refused(schedule, zone, message):
    """The message shows what one looks like."""
    with pytest.raises(PolicyError, match=message):
        require_schedule(schedule, zone)
