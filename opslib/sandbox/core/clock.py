"""Time as the sandbox uses it: microseconds since the epoch inside, ISO 8601 in UTC on the wire."""

import re
import time
from datetime import UTC, datetime

_DURATION = re.compile(
    r"^P(?:(?P<days>\d+)D)?(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?$"
)
MICROSECONDS = 1_000_000
TICKS_AT_EPOCH = 621_355_968_000_000_000
"""Ticks of 100 ns from the year 1, from which Azure counts them, to 1970."""


def now_us() -> int:
    """Return the wall clock [microseconds since the epoch]."""
    return time.time_ns() // 1000


def iso(at_us: int) -> str:
    """Write a time as ARM does, seven digits of a second."""
    return datetime.fromtimestamp(at_us // MICROSECONDS, UTC).strftime(
        f"%Y-%m-%dT%H:%M:%S.{at_us % MICROSECONDS:06d}0Z"
    )


def iso_now() -> str:
    """Write the present time as ARM does."""
    return iso(now_us())


def iso_offset(at_us: int) -> str:
    """Write a time as Azure ML does: with the offset of UTC, and up to seven digits of a second."""
    return datetime.fromtimestamp(at_us / MICROSECONDS, UTC).isoformat()


def parse_iso_us(text: str) -> int:
    """Read an ISO 8601 time; without an offset it is UTC.

    Raises
    ------
    ValueError
        If the text is no ISO 8601 time.
    """
    cleaned = re.sub(r"(\.\d{6})\d+", r"\1", text.strip().replace(" ", "+") if "T" in text else text.strip())
    value = datetime.fromisoformat(cleaned)
    if value.tzinfo is None:
        value = value.replace(tzinfo=UTC)
    return round(value.timestamp() * MICROSECONDS)


def parse_duration_s(text: str) -> float:
    """Read an ISO 8601 duration such as `PT5S` or `P1DT2H` [seconds].

    Raises
    ------
    ValueError
        If the text is no duration in days, hours, minutes, seconds.

    Examples
    --------
    >>> parse_duration_s("PT1M30.5S")
    90.5
    """
    match = _DURATION.match(text)
    if match is None or text in {"P", "PT"}:
        raise ValueError(f"expected an ISO 8601 duration such as PT5S, got {text!r}")
    days, hours, minutes, seconds = (float(part or 0) for part in match.groups())
    return days * 86400 + hours * 3600 + minutes * 60 + seconds


def parse_interval_us(text: str, now: int) -> tuple[int, int]:
    """Read an ISO 8601 interval: `start/end`, `start/duration`, `duration/end`, or a duration up to now.

    Raises
    ------
    ValueError
        If the text is none of these.

    Examples
    --------
    >>> parse_interval_us("1970-01-01T00:00:01Z/PT1S", now=0)
    (1000000, 2000000)
    """
    first, _, last = text.partition("/")
    if not last:
        return now - _duration_us(first), now
    if first.startswith("P"):
        end = parse_iso_us(last)
        return end - _duration_us(first), end
    start = parse_iso_us(first)
    return start, start + _duration_us(last) if last.startswith("P") else parse_iso_us(last)


def _duration_us(text: str) -> int:
    return round(parse_duration_s(text) * MICROSECONDS)
