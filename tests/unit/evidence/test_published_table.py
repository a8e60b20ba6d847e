"""The table of published runs: appended, compacted, compared with the ledger; SQL can only read it."""

from datetime import UTC, datetime
from pathlib import Path

import duckdb
import pytest
from container_fixture import Memory
from evidence_fixture import make_archive, make_run

from opslib.errors import ParameterError, RecordError
from opslib.evidence.archive.parquet import parquet_bytes
from opslib.evidence.archive.run_row import COLUMNS, TYPES, RunRow
from opslib.evidence.publish import publish
from opslib.evidence.run.files import LEDGER_SEGMENTS, TABLE
from opslib.evidence.table import engine
from opslib.evidence.table.compact import compact
from opslib.evidence.table.engine import select
from opslib.evidence.table.published_table import read_table
from opslib.evidence.table.table_files import MonthFiles, by_month, month_range, snapshot_file

COUNT = "SELECT count(*), count(DISTINCT run) FROM runs"


@pytest.fixture(autouse=True)
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))


@pytest.fixture
def archive(tmp_path):
    make_archive(tmp_path / "runs", 3)
    return tmp_path / "runs"


@pytest.fixture
def container(archive):
    """Three published runs."""
    memory = Memory()
    publish(archive, [], memory)
    return memory


def table_names(container):
    return sorted(name.rpartition("/")[2] for name in container.blobs if name.startswith(TABLE))


def test_a_publication_appends_rows_and_a_compaction_joins_them(archive, container):
    """One small file per run, then one per month; the rows and the ledger's runs are the same before and after."""
    before = read_table(container)
    rows = before.select("SELECT * FROM runs ORDER BY run").rows
    assert len(table_names(container)) == before.single_files == len(rows) == 3
    assert str(before.compare()) == "the table holds all 3 sealed runs of the ledger"
    done = compact(container)
    assert (done.months, done.rows, done.removed, done.kept) == (1, 3, 3, 0)
    assert table_names(container) == ["snapshot-000001.parquet"]
    assert read_table(container).select("SELECT * FROM runs ORDER BY run").rows == rows
    assert publish(archive, [], container).uploaded == 0
    make_run(archive)
    publish(archive, [], container)
    assert len(table_names(container)) == 2
    assert read_table(container).select(COUNT).rows == ((4, 4),)
    assert compact(container).rows == 4
    assert table_names(container) == ["snapshot-000002.parquet"]
    assert compact(container).months == 0


def test_files_are_fetched_once_and_comparisons_made_once(container):
    """The second query reads nothing from the container but its listing."""
    read_table(container).compare()
    container.reads.clear()
    again = read_table(container)
    assert again.select(COUNT, 10).rows == ((3, 3),)
    assert again.compare().complete
    assert container.reads == []
    compact(container)
    read_table(container)
    assert len(list(again.cache.folder.glob("*.parquet"))) == 2  # the snapshot and the ledger


def test_an_immutable_container_keeps_replaced_files_which_are_not_read(archive, container):
    """Nothing can be removed: the snapshot counts, and no run is there twice."""
    container.immutable = True
    assert compact(container).kept == 3
    make_run(archive)
    publish(archive, [], container)
    assert read_table(container).select(COUNT).rows == ((4, 4),)
    compact(container)
    assert len(table_names(container)) == 6
    assert read_table(container).select(COUNT).rows == ((4, 4),)


def test_what_the_table_lacks_and_what_the_ledger_lacks_is_said(archive, container):
    """A row is gone, one has no run, one has another outcome; a compaction restores what is published."""
    first, second = [name for name in container.blobs if name.startswith(TABLE)][:2]
    lost = Path(first).stem
    del container.blobs[first]
    month = second.rpartition("/")[0]
    run = Path(second).stem
    folder = f"{month.rpartition('=')[2]}/{run}"
    altered = RunRow(run, folder, "canary", "fraud", "failed")
    container.blobs[second] = parquet_bytes([altered], COLUMNS, TYPES)
    container.blobs[f"{month}/invented.parquet"] = parquet_bytes([RunRow("invented", "2026-11/x")], COLUMNS, TYPES)
    unpublished = make_run(archive).name  # in the ledger after the next segment
    publish(archive, [archive / folder], container)
    found = read_table(container).compare()
    assert (found.lacking, found.surplus, found.differing) == (2, 1, 1)
    assert found.first_lacking == min(lost, unpublished)  # ids of one second have no order
    assert "2 of 4 sealed runs of the ledger are not in the table" in str(found)
    assert "1 rows have no sealed run in the ledger" in str(found)
    done = compact(container)
    assert (done.rows, done.added, done.dropped, done.not_published) == (3, 2, 2, 1)
    assert str(read_table(container).compare()).startswith("1 of 4 sealed runs of the ledger are not in the table")
    assert read_table(container).select("SELECT DISTINCT outcome FROM runs").rows == (("succeeded",),)


def test_a_record_that_was_altered_is_not_taken_into_the_table(container):
    """The seal and the ledger confirm a record before a row is made from it."""
    victim = next(name for name in container.blobs if name.startswith(TABLE))
    del container.blobs[victim]
    record = next(name for name in container.blobs if name.endswith(f"{Path(victim).stem}/run.json"))
    container.blobs[record] = container.blobs[record].replace(b"succeeded", b"failed")
    with pytest.raises(RecordError, match="is not the run that the ledger names"):
        compact(container)


def test_the_ledgers_segments_are_read_once_and_a_bad_line_is_an_error(archive, container):
    """A new segment is joined with what is known; an invalid one is named."""
    read_table(container)
    make_run(archive)
    publish(archive, [], container)
    container.reads.clear()
    table = read_table(container)
    assert [name for name in container.reads if name.startswith(LEDGER_SEGMENTS)] == ["LEDGER/000007-000008.jsonl"]
    assert table.compare().sealed == 4
    container.blobs["LEDGER/000009-000010.jsonl"] = b"{not json\n"
    with pytest.raises(RecordError, match=r"the published ledger cannot be read.*opslib verify"):
        read_table(container)
    with pytest.raises(RecordError, match="does not contain an archive"):
        read_table(Memory())


def test_months_are_chosen_by_time(container):
    """Only files of the months from --since to --until are fetched, and only their runs are compared."""
    names = [snapshot_file(f"2026-{month:02d}", n) for month in (1, 2, 3) for n in (1, 12)]
    months = by_month([*names, ".table/month=2026-02/run-a.parquet", ".table/month=2026-02/../x", ".table/y"])
    assert months[1] == MonthFiles(
        "2026-02", names[3], 12, {"run-a": ".table/month=2026-02/run-a.parquet"}, (names[2],)
    )
    since, until = datetime(2026, 2, 28, tzinfo=UTC), datetime(2026, 3, 1, tzinfo=UTC)
    assert month_range(since, until) == ("2026-02", "2026-03")
    table = read_table(container, until=datetime(2020, 1, 1, tzinfo=UTC))
    assert table.select(COUNT).rows == ((0, 0),)
    assert table.compare().sealed == 0


HOSTILE = [
    "COPY runs TO '{out}'",
    "SELECT 1; COPY runs TO '{out}'",
    "ATTACH '{out}'",
    "INSTALL httpfs",
    "LOAD httpfs",
    "SET enable_external_access = true",
    "PRAGMA database_list",
    "CREATE TABLE x AS SELECT 1",
    "DROP VIEW runs",
    "CALL pragma_version()",
    "EXPORT DATABASE '{out}'",
    "EXPLAIN ANALYZE SELECT 1",
    "",
]


@pytest.mark.parametrize("sql", HOSTILE)
def test_only_one_select_is_run(sql, tmp_path):
    """What is not one SELECT is refused before it runs."""
    with pytest.raises(ParameterError, match="expected one SELECT over the table runs"):
        select([], sql.format(out=tmp_path / "out"))
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    "sql",
    [
        "SELECT * FROM read_csv('{secret}')",
        "SELECT * FROM read_text('{secret}')",
        "SELECT * FROM read_blob('{secret}')",
        "SELECT * FROM '{secret}'",
        "SELECT * FROM glob('{folder}/*')",
        "SELECT * FROM read_parquet('https://127.0.0.1:9/x.parquet')",
        "SELECT * FROM query('COPY runs TO ''{folder}/out''')",
        "SELECT getenv('HOME')",
        "SELECT * FROM in_python",
        "SELECT * FROM duckdb_secrets()",
        "SELECT list(a.range) FROM range(100000000) a, range(100) b",
    ],
)
def test_a_hostile_select_reaches_nothing(sql, tmp_path, monkeypatch):
    """No other file, no network, no environment, no variable of this program, no more memory than allowed."""
    in_python = duckdb.sql("SELECT 1")
    secret = tmp_path / "secret.txt"
    secret.write_text("top secret")
    monkeypatch.setattr(engine, "_SETTINGS", {**engine._SETTINGS, "memory_limit": "50MB"})
    with pytest.raises(RecordError, match="DuckDB") as caught:
        select([], sql.format(secret=secret, folder=tmp_path))
    assert "top secret" not in str(caught.value)
    assert in_python.fetchall() == [(1,)]
    assert [path.name for path in tmp_path.iterdir() if path.name != "cache"] == ["secret.txt"]


@pytest.mark.parametrize("content", [b"", b"PAR1", b"not parquet at all", b"PAR1" + b"\xff" * 200 + b"PAR1"])
def test_a_file_that_is_not_parquet_is_an_error_of_ours(content, tmp_path):
    """A damaged or hostile file ends the query with a message."""
    path = tmp_path / "x.parquet"
    path.write_bytes(content)
    with pytest.raises(RecordError, match="DuckDB"):
        select([path], COUNT)


def test_a_file_with_other_columns_or_types_is_an_error_of_ours(tmp_path):
    """Columns that are missing, or values that are not of their type, are named."""
    other = tmp_path / "x.parquet"
    duckdb.sql("SELECT 'x' AS run, 1 AS other").write_parquet(str(other))
    with pytest.raises(RecordError, match="folder"):
        select([other], COUNT)
    fields = ", ".join(f"'x' AS {name}" for name in COLUMNS)
    duckdb.sql(f"SELECT {fields}").write_parquet(str(other))
    with pytest.raises(RecordError, match="Could not convert"):
        select([other], "SELECT duration_s FROM runs")
