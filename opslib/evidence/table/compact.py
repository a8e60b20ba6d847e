"""Compaction of the table of published runs: one snapshot per month, which holds what the ledger holds."""

import base64
import hashlib
import tempfile
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec

from opslib.errors import AzureError, RecordError
from opslib.evidence.archive.parquet import write_parquet
from opslib.evidence.archive.run_row import COLUMNS, TYPES, RunRow, to_row
from opslib.evidence.run.files import RECORD, SEAL
from opslib.evidence.table.engine import TABLE_COLUMNS, opened
from opslib.evidence.table.file_cache import THREADS, FileCache
from opslib.evidence.table.ledger_runs import ledger_runs
from opslib.evidence.table.published_table import SEALED, current_files
from opslib.evidence.table.table_files import MonthFiles, by_month, list_table, snapshot_file

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

ROW_GROUP = 20_000
"""Rows of a row group, the part of a file that is read or skipped as a whole [count]."""

ORDER = "endpoint, started_at, run"
"""Rows of an endpoint are together, so that a query of one endpoint skips most of the row groups."""

_RIGHT = f"""
FROM files t SEMI JOIN (SELECT run, folder, outcome FROM ledger WHERE {SEALED}) l
  ON t.run = l.run AND t.folder = l.folder AND t.outcome = l.outcome AND NOT t.quarantined
"""  # noqa: S608 - ours


_RIGHT_ROWS = f"SELECT {TABLE_COLUMNS} FROM (SELECT DISTINCT ON (t.run) t.* {_RIGHT})"  # noqa: S608 - ours

_COPY = f"""
COPY ({{right}} UNION ALL SELECT * FROM added ORDER BY {ORDER}) TO '{{target}}'
  (FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP})
"""  # noqa: S608 - ours


@dataclass
class Compacted:
    """The result of a compaction [counts]; `kept` are files that the container does not let go."""

    months: int = 0
    rows: int = 0
    added: int = 0
    dropped: int = 0
    not_published: int = 0
    removed: int = 0
    kept: int = 0


@dataclass(frozen=True)
class _LedgerRun:
    """A sealed run of the ledger that has no right row."""

    run: str
    folder: str
    attestation_sha256: str


def compact(container: "Container") -> Compacted:
    """Write one snapshot for each month whose rows are in several files, or are not what the ledger holds.

    Rows that the ledger does not confirm are left out. Sealed runs without a row are read from their published
    records, whose digests the seal and the ledger confirm. Replaced files are removed at last.

    Raises
    ------
    RecordError
        If another compaction wrote the same snapshot with other content, or the container holds no archive.
    """
    cache, etags, done = FileCache(container), list_table(container), Compacted()
    ledger = ledger_runs(container, cache)
    with opened({"ledger": [ledger]}) as connection:
        listed = connection.execute(f"SELECT DISTINCT left(folder, 7) FROM ledger WHERE {SEALED}").fetchall()  # noqa: S608
    known = {one.month: one for one in by_month(etags)}
    for month in sorted({name for (name,) in listed if name} | known.keys()):
        files = known.get(month) or MonthFiles(month)
        _compact_month(container, files, current_files(files, etags, cache), ledger, done)
    return done


def _compact_month(
    container: "Container", month: MonthFiles, files: list[Path], ledger: Path, done: Compacted
) -> None:
    rows, dropped, lacking = _differences(month.month, files, ledger)
    added = _read_lacking(container, lacking, done)
    useless = (*month.runs.values(), *month.old)
    if added or dropped or month.runs:
        name = snapshot_file(month.month, month.number + 1)
        container.create(name, _snapshot(files, ledger, added))
        done.months += 1
        useless = (*useless, *([month.snapshot] if month.snapshot else []))
    done.rows, done.added, done.dropped = (
        done.rows + rows + len(added),
        done.added + len(added),
        done.dropped + dropped,
    )
    with ThreadPoolExecutor(THREADS) as pool:
        gone = list(pool.map(container.remove, useless))
    done.removed, done.kept = done.removed + sum(gone), done.kept + len(gone) - sum(gone)


def _differences(month: str, files: list[Path], ledger: Path) -> tuple[int, int, list[_LedgerRun]]:
    """Return the number of right rows and of wrong ones, and the sealed runs of a month without a right row."""
    with opened({"ledger": [ledger], "files": files}) as connection:
        if not files:
            connection.execute("CREATE VIEW files AS SELECT run, folder, outcome, quarantined FROM ledger LIMIT 0")
        (total,) = connection.execute("SELECT count(*) FROM files").fetchone() or (0,)
        (right,) = connection.execute(f"SELECT count(DISTINCT t.run) {_RIGHT}").fetchone() or (0,)
        found = connection.execute(
            f"SELECT run, folder, attestation_sha256 FROM ledger WHERE {SEALED} AND left(folder, 7) = $1 "  # noqa: S608
            f"AND run NOT IN (SELECT t.run {_RIGHT})",
            [month],
        ).fetchall()
    return right, total - right, [_LedgerRun(*one) for one in found]


def _read_lacking(container: "Container", lacking: list[_LedgerRun], done: Compacted) -> list[RunRow]:
    """Read the rows of runs from their published records; count those that were not published."""
    with ThreadPoolExecutor(THREADS) as pool:
        rows = list(pool.map(lambda run: _read_run(container, run), lacking))
    done.not_published += rows.count(None)
    return [row for row in rows if row]


def _read_run(container: "Container", run: _LedgerRun) -> RunRow | None:
    try:
        sealed, record = (container.read(f"{run.folder}/{name}") for name in (SEAL, RECORD))
    except AzureError as error:
        if error.status == 404:
            return None
        raise
    if hashlib.sha256(sealed).hexdigest() != run.attestation_sha256 or not _is_sealed(record, sealed):
        raise RecordError(f"{container.url}/{run.folder} is not the run that the ledger names. Run opslib verify")
    return to_row(record, run.folder)


def _is_sealed(record: bytes, sealed: bytes) -> bool:
    """Return whether a seal, which the ledger confirms, holds the digest of a record."""
    statement = msgspec.json.decode(base64.b64decode(msgspec.json.decode(sealed)["payload"]))
    digests = {subject["name"]: subject["digest"]["sha256"] for subject in statement["subject"]}
    return bool(digests.get(RECORD) == hashlib.sha256(record).hexdigest())


def _snapshot(files: list[Path], ledger: Path, added: list[RunRow]) -> bytes:
    """Return the right rows of files and further ones as one Parquet file, in `ORDER`."""
    with tempfile.TemporaryDirectory(prefix="opslib-table-") as scratch:
        extra, target = Path(scratch) / "added.parquet", Path(scratch) / "snapshot.parquet"
        write_parquet(added, COLUMNS, TYPES, extra)
        with opened({"files": files, "ledger": [ledger], "added": [extra]}, writes=True) as connection:
            right = _RIGHT_ROWS if files else "SELECT * FROM added LIMIT 0"
            connection.execute(_COPY.format(right=right, target=str(target).replace("'", "''")))
        return target.read_bytes()
