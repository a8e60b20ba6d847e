"""Engines: processes of this machine, Dask workers, and the DAG that Airflow runs by itself."""

import ast
import re
import shlex
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from awaiting import wait_until
from waves import make_wave, row

from opslib.errors import ParameterError
from opslib.fleet.engine import LocalEngine, open_engine
from opslib.fleet.jobs import airflow_files, azureml_files


@pytest.fixture
def dask() -> Iterator[str]:
    from distributed import LocalCluster  # noqa: PLC0415 - takes half a second, most tests need none

    own = {"dashboard_address": None, "protocol": "tcp", "host": "127.0.0.1"}
    with LocalCluster(n_workers=1, threads_per_worker=2, processes=False, **own) as cluster:
        yield cluster.scheduler_address.replace("tcp", "dask")


def test_every_engine_runs_a_command_and_returns_its_end(dask, tmp_path, monkeypatch):
    """The same process on this machine and on a worker: its exit code and its last line."""
    monkeypatch.chdir(tmp_path)
    for on in ("local", dask):
        with closing(open_engine(on, 2)) as engine:
            end = engine.submit(["fleet", "status", "december"]).result(60)
        assert (end.exit_code, end.died) == (1, False)
        assert "expected the id of one run" in end.last_line


def test_what_runs_here_is_interrupted_and_what_waits_is_not_started(tmp_path, monkeypatch):
    """The second signal: SIGTERM to what runs."""
    monkeypatch.chdir(tmp_path)
    with closing(LocalEngine(1)) as engine:
        running, waiting = (engine.submit(["sandbox", "traffic", "none", "--help"]) for _ in range(2))
        wait_until(lambda: engine._processes or running.done())
        engine.interrupt()
    assert running.result(30).exit_code in {-15, 0}
    assert waiting.cancelled() or waiting.result(30).exit_code == 0


@pytest.mark.parametrize(
    ("on", "problem"), [("slurm", "expected one of local, dask://"), ("dask://127.0.0.1:1", "no scheduler answers")]
)
def test_an_engine_that_is_not_there_is_named(on, problem, monkeypatch):
    """Before a record is begun or a run is started."""
    monkeypatch.setattr("opslib.fleet.engine.CONNECT_TIMEOUT_S", 0.2)
    with pytest.raises(ParameterError, match=re.escape(problem)):
        open_engine(on, 1)


def test_the_dag_has_a_mapped_task_for_each_group(tmp_path):
    """It compiles; each group is within the limits. tests/contract/airflow_wave.py runs it with Airflow itself."""
    rows = [row(n, region="westeurope" if n % 2 else "eastus") for n in range(6)]
    plan = make_wave(rows, batches=["2", "4"], max_per_region=1)
    ((path, text),) = airflow_files(
        plan, Path("20261201T120000Z-wave-december-1a2b3c"), tmp_path, ("--ticket=a b", r"--requester=CORP\nina")
    ).items()
    assert path == "dags/wave_december.py"
    groups = ast.literal_eval(text.partition("GROUPS = ")[2].partition('"""')[0])
    assert groups == {(1, 1): [1, 2], (2, 1): [3, 4], (2, 2): [5, 6]}
    assert ".expand(env=[" in text
    compiled = [node.value for node in ast.walk(ast.parse(text)) if isinstance(node, ast.Constant)]
    command = 'opslib fleet member "$WAVE" "$NUMBER" '
    (words,) = (str(one).removeprefix(command) for one in compiled if str(one).startswith(command))
    assert shlex.split(words) == ["--ticket=a b", r"--requester=CORP\nina"]


@pytest.mark.parametrize(
    ("on", "file", "problem"),
    [
        ("azureml:", "wave.yml", "the name of a compute cluster"),
        ("azureml:cpu", "../wave.yml", "in this folder"),
        ("azureml:cpu", "wave.yml", "cannot reach"),
    ],
)
def test_jobs_that_could_not_run_are_refused(on, file, problem):
    """No compute, a wave file that is not uploaded, or the sandbox of another machine."""
    with pytest.raises(ParameterError, match=problem):
        azureml_files(on, make_wave(1), Path(file))
