"""When an autoscale profile holds: on a date, every week from a moment on, or otherwise. Pure.

Source: Microsoft Learn, Azure Monitor, "Understand autoscale settings" and "Autoscale with multiple profiles": a
fixed date goes before a recurrence, that before the default; a recurring profile has no end of its own, it
holds until the next one begins; a fixed date lasts 365 days at most. One hour and one minute to a recurrence:
Azure/azure-sdk-for-python#41643, with the words of the refusal.
"""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.insights.autoscale.time_zones import find_zone

DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_MAX_LENGTH = timedelta(days=365)
_INVALID = "The autoscale setting that you provided has an invalid"


@dataclass(frozen=True)
class FixedDate:
    """From one moment to another, both in UTC."""

    start: datetime
    end: datetime

    def holds(self, now: datetime) -> bool:
        """Return whether a moment is within."""
        return self.start <= now < self.end


@dataclass(frozen=True)
class Recurrence:
    """On some days of the week (Monday is 0), from a time of the day on, by the clocks of a zone."""

    days: frozenset[int]
    hour: int
    minute: int
    zone: ZoneInfo

    def began(self, now: datetime) -> datetime:
        """Return the last moment at which it began [UTC]."""
        local = now.astimezone(self.zone).replace(tzinfo=None)
        today = local.replace(hour=self.hour, minute=self.minute, second=0, microsecond=0)
        earlier = (today - timedelta(days=back) for back in range(8))
        last = next(at for at in earlier if at.weekday() in self.days and at <= local)
        return last.replace(tzinfo=self.zone).astimezone(UTC)


When = FixedDate | Recurrence | None


def choose(times: list[When], now: datetime) -> int | None:
    """Return which of these holds now; None when none does, for want of a default.

    Parameters
    ----------
    times
        When each profile holds; None is the default's.
    now
        With its offset from UTC.
    """
    fixed = [index for index, when in enumerate(times) if isinstance(when, FixedDate) and when.holds(now)]
    begun = {index: when.began(now) for index, when in enumerate(times) if isinstance(when, Recurrence)}
    default = [index for index, when in enumerate(times) if when is None]
    if fixed:
        return fixed[0]
    if begun:
        return max(begun, key=lambda index: begun[index])
    return default[0] if default else None


def read_when(profile: dict[str, Any]) -> When:
    """Read when a profile holds.

    Raises
    ------
    ArmError
        If Azure Monitor would not accept it.
    """
    fixed, recurrence = profile.get("fixedDate"), profile.get("recurrence")
    if fixed and recurrence:
        raise ArmError.bad_request(f"{_INVALID} profile: it has a fixedDate and a recurrence. Specify only one.")
    if fixed:
        return _fixed(fixed)
    return _recurrence(recurrence) if recurrence else None


def _fixed(sent: Any) -> FixedDate:
    if not isinstance(sent, dict):
        raise ArmError.bad_request(f"{_INVALID} fixedDate: an object of timeZone, start and end is needed.")
    zone = _zone(sent.get("timeZone") or "UTC")
    start, end = _time(sent, "start", zone), _time(sent, "end", zone)
    if not timedelta(0) < end - start <= _MAX_LENGTH:
        raise ArmError.bad_request(
            f"{_INVALID} fixedDate: its end must be after its start, by {_MAX_LENGTH.days} days at most."
        )
    return FixedDate(start, end)


def _time(sent: dict[str, Any], name: str, zone: ZoneInfo) -> datetime:
    """Read a time by the clocks of the zone, whatever offset was sent: clients add one (Azure/azure-cli#10116)."""
    try:
        local = datetime.fromisoformat(str(sent.get(name)))
        return local.replace(tzinfo=zone).astimezone(UTC)
    except (ValueError, OverflowError) as error:
        raise ArmError.bad_request(f"{_INVALID} fixedDate: its {name} is no ISO 8601 time: {error}.") from error


def _recurrence(sent: Any) -> Recurrence:
    schedule = sent.get("schedule") if isinstance(sent, dict) else None
    if not isinstance(schedule, dict) or sent.get("frequency", "Week") != "Week":
        raise ArmError.bad_request(f"{_INVALID} recurrence: its frequency must be Week, and it needs a schedule.")
    days = schedule.get("days")
    if not isinstance(days, list) or not days or not all(isinstance(day, str) for day in days):
        raise ArmError.bad_request(f"{_INVALID} recurrence schedule: its days are names, Sunday to Saturday.")
    known = {day.lower(): index for index, day in enumerate(DAYS)}
    chosen = [known.get(day.lower()) for day in days]
    if None in chosen or len(set(chosen)) < len(chosen):
        raise ArmError.bad_request(f"{_INVALID} recurrence schedule: days are {', '.join(DAYS)}, each once.")
    return Recurrence(
        frozenset(day for day in chosen if day is not None),
        _one(schedule.get("hours"), "hours", 23),
        _one(schedule.get("minutes"), "minutes", 59),
        _zone(schedule.get("timeZone")),
    )


def _one(values: Any, name: str, most: int) -> int:
    if not isinstance(values, list) or len(values) != 1:
        raise ArmError.bad_request(
            f"{_INVALID} recurrence schedule with invalid count for {name} specified. "
            f"Specify only one value for {name}."
        )
    value = values[0]
    if not isinstance(value, int) or isinstance(value, bool) or not 0 <= value <= most:
        raise ArmError.bad_request(f"{_INVALID} recurrence schedule: {name} are from 0 to {most}, got {value!r}.")
    return value


def _zone(name: Any) -> ZoneInfo:
    zone = find_zone(name) if isinstance(name, str) else None
    if zone is None:
        raise ArmError.bad_request(
            f"{_INVALID} time zone {name!r}: it is a name such as 'Pacific Standard Time' or 'UTC'."
        )
    return zone
