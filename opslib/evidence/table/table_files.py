"""The files of the table of published runs: Parquet, one folder per month. It is a cache, not evidence.

A publication appends one small file per run (``.table/month=2026-11/RUN.parquet``). A compaction replaces them by
one snapshot per month (``snapshot-000002.parquet``). Of several snapshots the last one counts; a run's own file
counts until a snapshot contains the run. So readers, publications and compactions need no lock.
"""

import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from opslib.evidence.archive.parquet import parquet_bytes
from opslib.evidence.archive.run_row import COLUMNS, TYPES, RunRow
from opslib.evidence.run.files import MONTH_PATTERN, TABLE

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

_NAME = re.compile(
    rf"{re.escape(TABLE)}month=(?P<month>{MONTH_PATTERN})/"
    r"(?:snapshot-(?P<number>\d{6,})|(?P<run>[A-Za-z0-9][A-Za-z0-9._-]*))\.parquet"
)


@dataclass(frozen=True)
class MonthFiles:
    """The files of one month: the last snapshot, runs' own files by run, and files that nothing reads any more."""

    month: str
    snapshot: str = ""
    number: int = 0
    runs: Mapping[str, str] = field(default_factory=dict)
    old: tuple[str, ...] = ()


def run_file(folder: str) -> str:
    """Return the name of a run's own file; `folder` is the run's, in its archive.

    >>> run_file("2026-11/20261127T120000Z-canary-fraud-0a1b2c")
    '.table/month=2026-11/20261127T120000Z-canary-fraud-0a1b2c.parquet'
    """
    month, _, run = folder.partition("/")
    return f"{TABLE}month={month}/{run}.parquet"


def snapshot_file(month: str, number: int) -> str:
    """Return the name of a snapshot."""
    return f"{TABLE}month={month}/snapshot-{number:06d}.parquet"


def to_parquet(row: RunRow) -> bytes:
    """Return one run as a Parquet file."""
    return parquet_bytes([row], COLUMNS, TYPES)


def by_month(names: Iterable[str]) -> list[MonthFiles]:
    """Return the files of each month, in order; names of another form are no part of the table."""
    snapshots: dict[str, dict[int, str]] = {}
    runs: dict[str, dict[str, str]] = {}
    for name in names:
        match = _NAME.fullmatch(name)
        if match and match["number"]:
            snapshots.setdefault(match["month"], {})[int(match["number"])] = name
        elif match:
            runs.setdefault(match["month"], {})[match["run"]] = name
    found = []
    for month in sorted(snapshots.keys() | runs.keys()):
        own = snapshots.get(month, {})
        last = max(own, default=0)
        old = tuple(name for number, name in own.items() if number != last)
        found.append(MonthFiles(month, own.get(last, ""), last, runs.get(month, {}), old))
    return found


def month_range(since: datetime | None, until: datetime | None) -> tuple[str, str]:
    """Return the first and the last month that a time range touches."""
    first = f"{since.astimezone(UTC):%Y-%m}" if since else "0000-00"
    return first, f"{until.astimezone(UTC):%Y-%m}" if until else "9999-99"


def list_table(container: "Container") -> Mapping[str, str]:
    """Return the ETag of every file of the table."""
    return container.etags(TABLE)
