"""Times as Azure Monitor reads and writes them: UTC, to the millisecond."""

from datetime import UTC, datetime, timedelta
from typing import Any


def read_time(value: Any) -> datetime:
    """Read a time; without an offset it is UTC."""
    time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def write_time(time: datetime) -> str:
    """Write a time as ISO 8601."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")


def kql_time(time: datetime) -> str:
    """Write a time as a KQL literal."""
    return f"datetime({write_time(time)})"


def whole_minute(time: datetime, *, up: bool) -> datetime:
    """Round a time up or down to a whole minute."""
    floor = time.replace(second=0, microsecond=0)
    return floor + timedelta(minutes=1) if up and floor != time else floor
