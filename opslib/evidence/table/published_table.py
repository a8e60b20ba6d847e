"""The table of published runs: read from a container, and compared with the ledger, which is the truth."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from opslib.evidence.table.engine import Answer, opened, select
from opslib.evidence.table.file_cache import FileCache
from opslib.evidence.table.ledger_runs import ledger_runs
from opslib.evidence.table.table_files import MonthFiles, by_month, list_table, month_range

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

SEALED = "finished AND NOT quarantined"
"""The runs of the ledger that may be published."""

_COMPARE = f"""
WITH
  l AS (SELECT run, folder, outcome FROM ledger WHERE {SEALED} AND left(folder, 7) BETWEEN $first AND $last),
  t AS (SELECT run, folder, outcome, quarantined FROM files),
  both_ AS (
    SELECT l.run AS sealed, t.run AS row, t.outcome <> l.outcome OR t.quarantined OR t.folder <> l.folder AS differs
    FROM l FULL JOIN t ON l.run = t.run)
SELECT
  (SELECT count(*) FROM l),
  (SELECT count(*) FROM t),
  count(*) FILTER (row IS NULL), coalesce(min(sealed) FILTER (row IS NULL), ''),
  count(*) FILTER (sealed IS NULL) + count(row) - count(DISTINCT row),
  coalesce(min(row) FILTER (sealed IS NULL), ''),
  count(*) FILTER (differs), coalesce(min(row) FILTER (differs), '')
FROM both_
"""  # noqa: S608 - ours


class Comparison(msgspec.Struct, frozen=True):
    """The table compared with the ledger: how many runs each holds, and the first of each kind of difference.

    Attributes
    ----------
    sealed, rows
        Sealed runs of the ledger that are not quarantined, and rows of the table [count].
    lacking, surplus, differing
        Runs of the ledger without a row; rows without a sealed run in the ledger, or repeated;
        rows whose outcome or folder is not the ledger's [count].
    """

    sealed: int
    rows: int
    lacking: int
    first_lacking: str
    surplus: int
    first_surplus: str
    differing: int
    first_differing: str

    def __str__(self) -> str:
        parts = []
        if self.lacking:
            parts.append(
                f"{self.lacking} of {self.sealed} sealed runs of the ledger are not in the table (the first is "
                f"{self.first_lacking}): not published, or published without a row; opslib compact adds those"
            )
        if self.surplus:
            parts.append(
                f"{self.surplus} rows have no sealed run in the ledger, or repeat one ({self.first_surplus})"
            )
        if self.differing:
            parts.append(f"{self.differing} rows differ from the ledger ({self.first_differing})")
        return "; ".join(parts) or f"the table holds all {self.sealed} sealed runs of the ledger"

    @property
    def complete(self) -> bool:
        """Whether the table is what the ledger holds."""
        return not (self.lacking or self.surplus or self.differing)


@dataclass(frozen=True)
class PublishedTable:
    """Local copies of the files from the first to the last of some months, and the runs of the ledger."""

    months: tuple[str, str]
    files: tuple[Path, ...]
    ledger: Path
    cache: FileCache
    single_files: int = 0

    def select(self, sql: str, limit: int = 0) -> Answer:
        """Run one SELECT over the view ``runs``."""
        return select(self.files, sql, limit)

    def compare(self) -> Comparison:
        """Compare the rows with the ledger; the result is kept for the same files."""
        key = "\n".join(["comparison", self.ledger.name, *self.months, *sorted(path.name for path in self.files)])
        path = self.cache.path(key, ".json")
        if path.exists():
            return msgspec.json.decode(path.read_bytes(), type=Comparison)
        found = compare(self.files, self.ledger, self.months)
        for earlier in self.cache.folder.glob("*.json"):
            earlier.unlink(missing_ok=True)
        self.cache.put(path, msgspec.json.encode(found))
        return found


def read_table(
    container: "Container", since: datetime | None = None, until: datetime | None = None
) -> PublishedTable:
    """Fetch the table's files of the months that a time range touches, and the runs of the ledger."""
    cache, etags = FileCache(container), list_table(container)
    first, last = month_range(since, until)
    months = [month for month in by_month(etags) if first <= month.month <= last]
    files = [path for month in months for path in current_files(month, etags, cache)]
    cache.prune(etags)
    ledger = ledger_runs(container, cache)
    singles = sum(len(month.runs) for month in months)
    return PublishedTable((first, last), tuple(files), ledger, cache, singles)


def current_files(month: MonthFiles, etags: Mapping[str, str], cache: FileCache) -> list[Path]:
    """Return copies of a month's files that count: the last snapshot, and the runs that it does not contain."""
    if not month.snapshot:
        return list(cache.fetch(etags, month.runs.values()).values())
    (snapshot,) = cache.fetch(etags, [month.snapshot]).values()
    if not month.runs:
        return [snapshot]
    with opened({"snapshot": [snapshot]}) as connection:
        known = connection.execute("SELECT run FROM snapshot WHERE list_contains($1, run)", [list(month.runs)])
        inside = {run for (run,) in known.fetchall()}
    return [snapshot, *cache.fetch(etags, [n for run, n in month.runs.items() if run not in inside]).values()]


def compare(files: Sequence[Path], ledger: Path, months: tuple[str, str]) -> Comparison:
    """Compare the rows of files with the runs of the ledger from the first to the last of some months."""
    with opened({"ledger": [ledger], "files": files}) as connection:
        if not files:
            connection.execute("CREATE VIEW files AS SELECT run, folder, outcome, quarantined FROM ledger LIMIT 0")
        cursor = connection.execute(_COMPARE, {"first": months[0], "last": months[1]})
        return Comparison(*(cursor.fetchone() or ()))
