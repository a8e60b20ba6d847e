"""Waves on the sandbox: on this machine, and on Dask workers of which one is killed in the middle of a canary."""

import os
import signal
from contextlib import suppress
from pathlib import Path

import yaml
from awaiting import wait_until
from dask_processes import dask_cluster
from prepared_opslib import start_opslib
from run_processes import guardians_of, kernels_of
from runbook_world import QUICK_CANARY

from opslib.cli.main import main
from opslib.evidence.run.record import read_record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease


def test_a_canary_whose_worker_died_is_given_back_by_its_lease(make_world, tmp_path, capsys):
    """Worker, run, kernel and guardian are killed; another worker waits for the lease, and the wave reports it."""
    world = make_world(green={})
    parameters = {**QUICK_CANARY, "canary": "green", "stages": [50, 100], "lease_s": 6}
    wave = {"version": 1, "name": "december", "runbook": "canary", "parameters": parameters, "retries": 0}
    select = {"match": {"endpoint": world.name}}
    (tmp_path / "wave.yml").write_text(yaml.safe_dump({**wave, "select": select}))
    with dask_cluster(tmp_path) as address:
        words = ("fleet", "run", "wave.yml", "--ticket", "CHG-1", "--runs", str(world.runs))
        driver = start_opslib(*words, "--on", f"dask://{address}", folder=tmp_path, output=tmp_path / "fleet.txt")
        folder = wait_until(lambda: canary_that_moved(world.runs), within_s=90)
        assert read_lease(world.read().tags).change == folder.name
        kill_worker(folder)
        code = driver.wait(120)
    assert code == Outcome.FAILED.exit_code, (tmp_path / "fleet.txt").read_text()
    endpoint, record = world.read(), read_record(folder)
    assert (endpoint.traffic, read_lease(endpoint.tags)) == ({"blue": 100}, None)
    assert (record.outcome, record.wave_member, record.ticket) == (Outcome.ABORTED, 1, "CHG-1")
    assert len(list(world.runs.glob("*/*-canary-*"))) == 1  # not repeated by the scheduler
    assert len(list(world.runs.glob("*/*-sweep-*"))) == 1
    assert verify(world.runs).state is VerifyState.SOUND
    plot = tmp_path / "wave.png"
    assert main(["fleet", "status", "december", "--runs", str(world.runs), "--plot", str(plot)]) == 0
    shown = capsys.readouterr().out
    assert f"{world.name}     eastus" in shown
    assert "max_failures: 1 of 1 runs failed" in shown
    assert plot.stat().st_size > 1000


def test_a_wave_of_processes_of_this_machine_leaves_sealed_runs_and_its_own_record(make_world, tmp_path, capsys):
    """`--on local`: the run of each endpoint, its table, and a record over them."""
    world = make_world(green={})
    wave = {"version": 1, "name": "back", "runbook": "rollback", "parameters": {"to": "green"}}
    (tmp_path / "wave.yml").write_text(yaml.safe_dump({**wave, "select": {"match": {"endpoint": world.name}}}))
    with world.clients(rps=20):
        assert main(["fleet", "run", str(tmp_path / "wave.yml"), "--runs", str(world.runs)]) == 0
    shown = capsys.readouterr().out
    assert "succeeded: 1 of 1 endpoints succeeded, 0 failed, 0 left" in shown
    assert world.read().traffic == {"green": 100}
    (run,), (own,) = (list(world.runs.glob(f"*/*-{kind}-*/run.json")) for kind in ("rollback", "wave"))
    assert read_record(run.parent).wave == own.parent.name
    found = verify(world.runs)
    assert (found.state, found.sealed) == (VerifyState.SOUND, 2)
    assert main(["fleet", "run", str(tmp_path / "wave.yml"), "--runs", str(world.runs), "--on", "slurm"]) == 2


def canary_that_moved(runs: Path) -> Path | None:
    for journal in runs.glob("*/*-canary-*/journal.jsonl"):
        if '"event": "applied"' in journal.read_text():
            return journal.parent
    return None


def kill_worker(folder: Path) -> None:
    """Kill the run's processes, the first of which is its worker's child, and all that could return the traffic."""
    words = f"fleet\0member\0{read_record(folder).wave}\0".encode()
    found = [int(path.parent.name) for path in Path("/proc").glob("[0-9]*/cmdline") if words in read_bytes(path)]
    (worker,) = {parent_of(pid) for pid in found} - set(found)
    for pid in (worker, *guardians_of(folder), *found, *kernels_of(folder)):
        with suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)


def parent_of(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def read_bytes(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended
