"""What evidence costs: sealing and verifying against plain SHA-256 of the same bytes; finding runs among many.

``OPSLIB_BENCH_RUNS`` (default 300; 100000 for the figures that are quoted) is the size of the archive for finding,
``OPSLIB_BENCH_SEALED`` (default 40; 1000 for the figures) for sealing. ``-s`` prints the figures.
"""

import hashlib
import json
import os
import shutil
import sqlite3
import subprocess
import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from evidence_fixture import MODEL, SCOPE, make_run, notebook

from opslib.evidence.archive import index, ledger
from opslib.evidence.archive.checkpoints import write_checkpoint
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import INDEX, LEDGER, SEAL
from opslib.evidence.run.record import Record, read_record, write_record
from opslib.evidence.signing import seal
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.signing.keys import find_signing_key
from opslib.evidence.verify.verify import save_baseline, verify
from opslib.model import Outcome

RUNS = int(os.environ.get("OPSLIB_BENCH_RUNS", "300"))
SEALED = int(os.environ.get("OPSLIB_BENCH_SEALED", "40"))
NOTEBOOK_BYTES = 46_000
"""A typical executed runbook."""

REPORT_BYTES = 19_000
"""A typical report."""


def timed(work, times=3):
    """The best of some times [seconds], and what came of it."""
    best, value = float("inf"), None
    for _ in range(times):
        begun = time.perf_counter()
        value = work()
        best = min(best, time.perf_counter() - begun)
    return best, value


def tell(what, **figures):
    print(f"\n{what}: {', '.join(f'{name} {value:.4g}' for name, value in figures.items())}")


@pytest.fixture(scope="module")
def sealed(tmp_path_factory):
    """Sealed runs with notebooks and reports of a typical size, written without waiting for the disk."""
    archive = tmp_path_factory.mktemp("sealed") / "runs"
    content = json.dumps(notebook(text="x" * NOTEBOOK_BYTES))
    page = f"<!DOCTYPE html><title>a report</title>{'y' * REPORT_BYTES}"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("evidence_fixture.notebook", lambda: json.loads(content))
        patch.setattr("evidence_fixture.REPORT", page)
        patch.setattr(os, "fsync", lambda _: None)
        for _ in range(SEALED):
            make_run(archive)
    return archive


def test_verifying_costs_little_more_than_hashing(sealed, tmp_path):
    """Every signature, line, checkpoint and file, against SHA-256 of the same bytes; and what a baseline saves."""
    files = [p for p in sealed.rglob("*") if p.is_file() and ".locks" not in p.parts]
    names = "\0".join(map(str, files)).encode()
    program = ["xargs", "-0", "-n", "5000", "sha256sum"]
    plain, _ = timed(lambda: [hashlib.sha256(path.read_bytes()).digest() for path in files])
    typed, _ = timed(lambda: subprocess.run(program, input=names, stdout=subprocess.DEVNULL, check=True))
    ours, found = timed(lambda: verify(sealed))
    assert found.state is VerifyState.SOUND
    save_baseline(found, tmp_path / "baseline.json")
    since, again = timed(lambda: verify(sealed, since=tmp_path / "baseline.json"))
    assert again.taken.runs == SEALED
    tell("verify", runs=SEALED, files=len(files), MB=sum(p.stat().st_size for p in files) / 1e6)
    tell(
        "verify, ms per run",
        hashlib=1e3 * plain / SEALED,
        sha256sum=1e3 * typed / SEALED,
        ours=1e3 * ours / SEALED,
        since_baseline=1e3 * since / SEALED,
        share_of_hashlibs_speed=plain / ours,
        share_of_sha256sums_speed=typed / ours,
    )


def test_sealing_costs_little_more_than_hashing(sealed, tmp_path, monkeypatch):
    """Hash, sign, write on the disk; and what the ledger and the checkpoint add."""
    folders = [path.parent for path in sorted(sealed.glob(f"2*/*/{SEAL}"))[:20]]
    copies = [shutil.copytree(folder, tmp_path / "s" / folder.name) for folder in folders]
    files = [p for copy in copies for p in copy.iterdir() if p.name != SEAL]
    plain, _ = timed(lambda: [hashlib.sha256(path.read_bytes()).digest() for path in files])
    key, records = find_signing_key(), [read_record(copy) for copy in copies]

    def seal_all():
        for copy, record in zip(copies, records, strict=True):
            copy.chmod(0o755)
            (copy / SEAL).unlink(missing_ok=True)
            seal.seal(copy, record, key)

    ours, _ = timed(seal_all)
    with monkeypatch.context() as patch:
        patch.setattr(os, "fsync", lambda _: None)
        computed, _ = timed(seal_all)
    runs = tmp_path / "runs"
    begun = time.perf_counter()
    for _ in range(20):
        ledger.append(runs, ledger.STARTED, "x")
        ledger.append(runs, ledger.FINISHED, "x")
        write_checkpoint(runs, key)
    entered = time.perf_counter() - begun
    count = len(copies)
    tell("seal", plain_ms_per_run=1e3 * plain / count, ours_ms_per_run=1e3 * ours / count, ratio=ours / plain)
    tell("seal, without waiting for the disk", ms_per_run=1e3 * computed / count, ratio=computed / plain)
    tell("ledger", two_lines_and_checkpoint_ms=1e3 * entered / 20)
    assert ours / count < 0.2


@pytest.fixture(scope="module")
def many(tmp_path_factory):
    """An archive of many runs: sidecars and a ledger, without seals."""
    archive = tmp_path_factory.mktemp("many") / "runs"
    begun = datetime(2026, 1, 1, tzinfo=UTC)
    lines: list[bytes] = []
    previous = ledger.GENESIS
    for n in range(RUNS):
        at = begun + timedelta(minutes=5 * n)
        endpoint, runbook = f"endpoint{n % 20}", ("canary", "deploy", "scale", "rollback")[n % 4]
        outcome = Outcome.SUCCEEDED if n % 10 else Outcome.FAILED
        run = f"{at:%Y%m%dT%H%M%SZ}-{runbook}-{endpoint}-{n:06x}"
        folder = archive / f"{at:%Y-%m}" / run
        folder.mkdir(parents=True)
        record = Record(run, runbook, endpoint, {"endpoint": endpoint, "bake_s": 60.0}, at, scope=SCOPE)
        record = replace(record, deployments_before={"green": {"model": MODEL}}, results={"stages": n % 5})
        record = replace(record.ended(outcome, f"reason {n}"), finished_at=at + timedelta(seconds=60))
        (folder / "run.json").write_text(json.dumps(as_told(record)))
        events: tuple[tuple[str, dict[str, Any]], ...] = (
            ("started", {"folder": f"{at:%Y-%m}/{run}"}),
            ("finished", {"outcome": str(outcome)}),
        )
        for event, more in events:
            entry = ledger.Entry(len(lines) + 1, at.isoformat(), event, run, previous, **more)
            previous = entry.sha256
            lines.append(entry.line())
    (archive / LEDGER).write_bytes(b"".join(lines))
    return archive


def as_told(record):
    from opslib.evidence.run.journal import as_json  # noqa: PLC0415 - only here

    return as_json(record)


def last_failed(rows):
    wanted = [r for r in rows if r["endpoint"] == "endpoint0" and r["outcome"] == "failed"]
    return [r["run_id"] for r in sorted(wanted, key=lambda r: r["started_at"], reverse=True)[:20]]


def test_finding_runs_among_many(many, tmp_path):
    """The last failed runs of an endpoint: index, sidecars, scrapbook; the same answer from each."""
    import scrapbook  # noqa: PLC0415 - takes a second, most tests need none

    index.rebuild(many)
    build, _ = timed(lambda: find_runs(many, RunQuery(limit=1)), times=1)
    query = RunQuery(endpoint="endpoint0", outcome="failed", limit=20)
    ours, (rows, _) = timed(lambda: find_runs(many, query))
    every, (_, total) = timed(lambda: find_runs(many, RunQuery(since=datetime(2026, 1, 2, tzinfo=UTC), limit=50)))
    text, _ = timed(lambda: find_runs(many, RunQuery(model="fraud-model:2", limit=50)))
    sidecars, expected = timed(
        lambda: last_failed([json.loads(path.read_text()) for path in many.glob("2*/*/run.json")]), times=1
    )
    assert [row.run for row in rows] == expected
    assert total <= RUNS
    books = tmp_path / "notebooks"
    books.mkdir()
    sample = min(RUNS // 10, 100)  # scrapbook reads 20 notebooks a second
    content = json.dumps(notebook(text="x" * NOTEBOOK_BYTES) | {"cells": glued()})
    for n in range(sample):
        (books / f"run{n}.ipynb").write_text(content)
    read, _ = timed(
        lambda: [nb.scraps["n9"].data for nb in scrapbook.read_notebooks(str(books)).notebooks], times=1
    )
    by_scrapbook = read / sample * RUNS
    tell("index", runs=RUNS, build_s=build, last_failed_ms=1e3 * ours, since_ms=1e3 * every, model_ms=1e3 * text)
    tell(
        "against",
        sidecars_s=sidecars,
        ratio=sidecars / ours,
        scrapbook_s=by_scrapbook,
        scrapbook_ratio=by_scrapbook / ours,
    )
    assert ours < sidecars


def glued():
    """A cell with the scraps of a run."""
    kind = "application/scrapbook.scrap.json+json"
    outputs = [
        {
            "output_type": "display_data",
            "data": {kind: {"name": f"n{n}", "data": n, "encoder": "json", "version": 1}},
            "metadata": {"scrapbook": {"name": f"n{n}", "data": True, "display": False}},
        }
        for n in range(13)
    ]
    (cell,) = notebook(text="x" * NOTEBOOK_BYTES)["cells"]
    return [cell | {"outputs": [*cell["outputs"], *outputs]}]


def test_one_more_run_is_taken_in_at_once(many, tmp_path):
    """The index follows the ledger: a new run costs milliseconds, however many there are."""
    find_runs(many)
    folder = many / "2026-01" / "29990101T000000Z-canary-new-000000"
    folder.mkdir()
    write_record(folder, Record(folder.name, "canary", "new", {}, datetime.now(UTC)).ended(Outcome.HELD, "x"))
    ledger.append(many, ledger.STARTED, folder.name, folder=f"2026-01/{folder.name}")
    took, (_, total) = timed(lambda: find_runs(many, RunQuery(endpoint="new")), times=1)
    assert total == 1
    tell("one more run", ms=1e3 * took)
    assert not run_lock.is_held(folder)
    with sqlite3.connect(many / INDEX) as connection:
        assert connection.execute("SELECT count(*) FROM runs").fetchone() == (RUNS + 1,)
    connection.close()
