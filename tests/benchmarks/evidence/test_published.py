"""SQL over many published runs, side by side with SQLite, pandas and a script over run.json files.

``OPSLIB_BENCH_PUBLISHED`` is the number of runs: 3000 in memory; with another number, such as 1000000 for the
quoted figures, they are in a real Azurite. ``-s`` prints the figures.
"""

import json
import os
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import duckdb
import pytest
from azurite_fixture import Caller, container_client, running_azurite
from container_fixture import Memory

from opslib.azure.blob_container import open_container
from opslib.evidence.archive.run_row import COLUMNS
from opslib.evidence.table.compact import ORDER, ROW_GROUP
from opslib.evidence.table.published_table import read_table
from opslib.evidence.table.table_files import snapshot_file

SMALL = 3000
RUNS = int(os.environ.get("OPSLIB_BENCH_PUBLISHED", str(SMALL)))
ENDPOINT = "endpoint7"
SQL = f"SELECT run, reason FROM runs WHERE endpoint = '{ENDPOINT}' AND outcome = 'failed' ORDER BY run DESC"  # noqa: S608
FILES = 500
"""Files of the comparison that reads run.json; the time for all is in proportion."""

_ROWS = """
CREATE TABLE made AS
SELECT strftime(begun, '%Y%m%dT%H%M%SZ') || '-' || runbook || '-' || endpoint || '-' || printf('%06x', n) AS run,
  strftime(begun, '%Y-%m') || '/' || run AS folder, runbook, endpoint, outcome, 'reason ' || n AS reason,
  strftime(begun, '%Y-%m-%dT%H:%M:%S.000+00:00') AS started_at,
  strftime(begun + INTERVAL 60 SECOND, '%Y-%m-%dT%H:%M:%S.000+00:00') AS finished_at, 60.0::DOUBLE AS duration_s,
  'oncall@harborshield.example' AS who, 'fraud-model:' || (n % 40) AS models, 'CHG-' || n AS ticket,
  false AS quarantined, '{{"endpoint": "' || endpoint || '", "bake_s": 60.0}}' AS parameters,
  '{{"stages": ' || (n % 5) || '}}' AS results
FROM (SELECT n, TIMESTAMP '2026-01-01' + INTERVAL 1 SECOND * (n * 31000000 // {runs}) AS begun,
  ['canary', 'deploy', 'scale', 'rollback'][1 + n % 4] AS runbook, 'endpoint' || (n % {endpoints}) AS endpoint,
  CASE WHEN hash(n) % 10 = 0 THEN 'failed' ELSE 'succeeded' END AS outcome FROM range({runs}) t(n))
"""

_LEDGER = """
COPY (
  SELECT 2 * n + e AS seq, started_at AS at, ['started', 'finished'][e] AS event, run, sha256(run) AS prev,
    CASE WHEN e = 1 THEN folder END AS folder, CASE WHEN e = 2 THEN sha256(run) END AS attestation_sha256,
    CASE WHEN e = 2 THEN outcome END AS outcome
  FROM (SELECT row_number() OVER (ORDER BY run) - 1 AS n, * FROM made), range(1, 3) t(e) ORDER BY seq
) TO '{path}' (FORMAT json)
"""


def timed(work):
    """Time of some work [seconds], and what came of it."""
    begun = time.perf_counter()
    value = work()
    return time.perf_counter() - begun, value


@pytest.fixture(scope="module")
def local(tmp_path_factory):
    """The table's files and the ledger, made without running anything."""
    folder = tmp_path_factory.mktemp("many")
    with duckdb.connect() as connection:
        connection.execute(_ROWS.format(runs=RUNS, endpoints=max(20, RUNS // 1000)))
        months = [month for (month,) in connection.execute("SELECT DISTINCT left(folder, 7) FROM made").fetchall()]
        for month in months:
            rows = f"SELECT * FROM made WHERE folder LIKE '{month}%' ORDER BY {ORDER}"  # noqa: S608 - ours
            form = f"FORMAT parquet, COMPRESSION zstd, ROW_GROUP_SIZE {ROW_GROUP}"
            connection.execute(f"COPY ({rows}) TO '{folder / month}.parquet' ({form})")
        connection.execute(_LEDGER.format(path=folder / "ledger.jsonl"))
    return folder


def blobs(local):
    yield f"LEDGER/000001-{2 * RUNS:06d}.jsonl", (local / "ledger.jsonl").read_bytes()
    for path in sorted(local.glob("*.parquet")):
        yield snapshot_file(path.stem, 1), path.read_bytes()


@pytest.fixture(scope="module")
def published(local, tmp_path_factory):
    """A function that opens the container, and its address in Azurite, if it is there."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
        if RUNS == SMALL:
            memory = Memory()
            memory.blobs = dict(blobs(local))
            yield memory, ""
            return
        with running_azurite(tmp_path_factory.mktemp("azurite")) as azurite:
            patch.setenv("REQUESTS_CA_BUNDLE", str(azurite.certificate))
            url = f"{azurite.url}/runs"
            with container_client(url) as client:
                client.create_container()
                for name, content in blobs(local):
                    client.upload_blob(name, content)
            with open_container(url, Caller()) as container:
                yield container, url


def answer(container):
    table = read_table(container)
    return table.select(SQL), table.compare()


def command(url):
    """Type the command; a process of its own, as for a person."""
    code = (
        "import sys; from azurite_fixture import Caller; import azure.identity;"
        "azure.identity.DefaultAzureCredential = Caller;"
        "from opslib.cli.main import main; sys.exit(main(sys.argv[1:]))"
    )
    tests = str(Path(__file__).parents[2])
    environment = os.environ | {"PYTHONPATH": tests}
    line = [sys.executable, "-c", code, "runs", "--from", url, "--json", "--limit", "0", "--sql", SQL]
    done = subprocess.run(line, env=environment, capture_output=True, text=True, check=True)
    return json.loads(done.stdout)


def test_sql_over_published_runs_beside_other_ways(local, published, tmp_path):
    """The failed runs of one endpoint: the same answer from each; only the first is compared with the ledger."""
    container, url = published
    cold_s, (found, compared) = timed(lambda: answer(container))
    warm_s, (again, _) = min((timed(lambda: answer(container)) for _ in range(3)), key=lambda one: one[0])
    assert again == found
    assert compared.complete
    assert compared.sealed == compared.rows == RUNS
    files = sorted(local.glob("*.parquet"))
    expected = [run for run, _ in found.rows]

    import pandas as pd  # noqa: PLC0415 - takes a second, most tests need none

    def by_pandas():
        frame = pd.concat(
            [pd.read_parquet(path, columns=["run", "endpoint", "outcome", "reason"]) for path in files]
        )
        wanted = frame[(frame.endpoint == ENDPOINT) & (frame.outcome == "failed")]
        return sorted(wanted.run, reverse=True)

    pandas_s, by = timed(by_pandas)
    assert by == expected
    database = sqlite3.connect(tmp_path / "plain.sqlite")
    database.execute(f"CREATE TABLE runs ({', '.join(COLUMNS)})")
    with duckdb.connect() as reader:
        rows = reader.execute(f"SELECT * FROM read_parquet({[str(path) for path in files]!r})").fetchall()  # noqa: S608
    insert = f"INSERT INTO runs VALUES ({', '.join('?' * len(COLUMNS))})"  # noqa: S608
    load_s, _ = timed(lambda: database.executemany(insert, rows))
    sqlite_s, by = timed(lambda: [run for run, _ in database.execute(SQL).fetchall()])
    database.close()
    assert by == expected
    for n, row in enumerate(rows[:FILES]):
        (tmp_path / f"{n}.json").write_text(json.dumps(dict(zip(COLUMNS, row, strict=True)), default=str))
    script_s, _ = timed(lambda: [json.loads(path.read_bytes())["outcome"] for path in tmp_path.glob("*.json")])
    script_s *= RUNS / min(RUNS, FILES)
    size = sum(path.stat().st_size for path in files) / 1e6
    print(
        f"\n{RUNS} runs in {len(files)} files ({size:.1f} MB): first query {cold_s:.2f} s (fetches the table and "
        f"{(local / 'ledger.jsonl').stat().st_size / 1e6:.0f} MB of ledger), later ones {warm_s:.3f} s with the "
        f"comparison; pandas over local copies {pandas_s / warm_s:.1f} times that, SQLite without an index "
        f"{sqlite_s / warm_s:.1f} times (after {load_s:.1f} s to load it), a script over run.json "
        f"{script_s / warm_s:.0f} times"
    )
    if url:
        typed = [timed(lambda: command(url)) for _ in range(3)]
        assert [row["run"] for row in typed[0][1]] == expected
        print(f"opslib runs --from URL --sql, typed: {min(took for took, _ in typed):.2f} s")
