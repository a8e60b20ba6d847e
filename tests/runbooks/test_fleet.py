"""Waves on the sandbox: on processes of this machine, and on Dask workers that are killed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import yaml
from awaiting import wait_until
from prepared_opslib import start_opslib
from run_processes import guardians_of, kernels_of
from runbook_world import QUICK_CANARY

from opslib.cli.main import main
from opslib.evidence.run.record import read_record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.fleet.archive import find_wave, open_plan, wave_runs
from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease

FIRST = {"to": "blue", "verify_requests": 2, "verify_s": 2}


def write_wave(folder: Path, worlds, **given: object) -> str:
    """A wave file that selects the worlds by their names."""
    path = folder / "wave.yml"
    select = {"match": {"endpoint": [one.name for one in worlds]}}
    path.write_text(yaml.safe_dump({"version": 1, "name": "december", "select": select, **given}))
    return str(path)


def write_probes(world, total: int) -> None:
    Path(world.probes("blue", total)).replace(world.folder / f"{world.name}.jsonl")


def test_a_wave_stops_at_a_failure_and_resumes_what_is_left(make_world, tmp_path, monkeypatch, capsys):
    """The second endpoint is not touched until a person has fixed the cause; both are then done, none twice."""
    monkeypatch.chdir(tmp_path)
    first, second = worlds = [make_world(), make_world()]
    write_probes(first, total=7)  # wrong
    write_probes(second, total=6)
    given = {"batches": [1], "parameters": {**FIRST, "probes": "{endpoint}.jsonl"}, "runbook": "rollback"}
    wave = write_wave(tmp_path, worlds, **given)
    runs = ["--runs", str(tmp_path / "runs")]
    assert main(["fleet", "run", wave, *runs, "--ticket", "CHG-1"]) == Outcome.FAILED.exit_code
    assert f"stopped by max_failures: 1 of 2 runs failed ({first.name})" in capsys.readouterr().out
    assert main(["fleet", "run", wave, *runs]) == Outcome.REFUSED.exit_code
    assert "Continue it: opslib fleet resume december" in capsys.readouterr().err

    write_probes(first, total=6)
    assert main(["fleet", "resume", "december", *runs, "--retry-failed", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["results"] == {"endpoints": 2, "succeeded": 2}
    assert main(["fleet", "status", "december", *runs, "--json", "--plot", "wave.png"]) == 0
    status = json.loads(capsys.readouterr().out)
    assert [(one["endpoint"], one["outcome"], one["runs"]) for one in status["members"]] == [
        (first.name, "succeeded", 2),
        (second.name, "succeeded", 1),
    ]
    assert Path("wave.png").stat().st_size > 1000
    root = find_wave(tmp_path / "runs", "december")
    assert [one.record.ticket for one in wave_runs(root, open_plan(root))[1]] == ["CHG-1", ""]
    members = json.loads((root / "wave.json").read_text())["members"]
    assert [(one["outcome"], len(one["runs"])) for one in members] == [("held", 1), (None, 0)]
    found = verify(tmp_path / "runs")
    assert (found.state, found.runs, found.sealed) == (VerifyState.SOUND, 5, 5)


def test_a_canary_whose_worker_died_is_given_back_by_its_lease(make_world, tmp_path, monkeypatch):
    """Worker, run, kernel and guardian are killed; another worker waits for the lease, and the wave reports it."""
    world = make_world(green={})
    parameters = {**QUICK_CANARY, "canary": "green", "stages": [50, 100], "lease_s": 6}
    wave = write_wave(tmp_path, [world], runbook="canary", parameters=parameters, retries=0)
    with dask_cluster(tmp_path) as address:
        words = ("fleet", "run", wave, "--runs", str(world.runs), "--on", f"dask://{address}")
        driver = start_opslib(*words, folder=tmp_path, output=tmp_path / "fleet.txt")
        folder = wait_until(lambda: canary_that_moved(world.runs), within_s=90)
        assert read_lease(world.read().tags).change == folder.name
        kill_worker(folder)
        code = driver.wait(120)
    assert code == Outcome.FAILED.exit_code, (tmp_path / "fleet.txt").read_text()
    endpoint, record = world.read(), read_record(folder)
    assert (endpoint.traffic, read_lease(endpoint.tags)) == ({"blue": 100}, None)
    assert (record.outcome, record.wave_member) == (Outcome.ABORTED, 1)
    assert len(list(world.runs.glob("*/*-canary-*"))) == 1  # not repeated by the scheduler
    assert len(list(world.runs.glob("*/*-sweep-*"))) == 1
    assert verify(world.runs).state is VerifyState.SOUND


def canary_that_moved(runs: Path) -> Path | None:
    for journal in runs.glob("*/*-canary-*/journal.jsonl"):
        if '"event": "applied"' in journal.read_text():
            return journal.parent
    return None


def kill_worker(folder: Path) -> None:
    """Kill the run's process, which is its worker's child, and everything that could return the traffic."""
    words = f"fleet\0member\0{read_record(folder).wave}\0".encode()
    (runner,) = (
        int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if words in read_bytes(path)
    )
    worker = int((Path("/proc") / str(runner) / "stat").read_text().rpartition(")")[2].split()[1])
    for pid in (worker, *guardians_of(folder), runner, *kernels_of(folder)):
        os.kill(pid, signal.SIGKILL)


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """A scheduler and two workers, each a process; yields the scheduler's address."""
    file = folder / "scheduler.json"
    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    scheduler = ["distributed.cli.dask_scheduler", *common, "--port", "0"]
    worker = [
        "distributed.cli.dask_worker",
        *common,
        "--no-nanny",
        "--nthreads",
        "1",
        "--local-directory",
        str(folder),
    ]
    started = [
        subprocess.Popen([sys.executable, "-m", *words], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        for words in (scheduler, worker, worker)
    ]
    try:
        wait_until(file.exists, within_s=60)
        yield json.loads(file.read_text())["address"].removeprefix("tcp://")
    finally:
        for process in started:
            process.kill()
            process.wait()
