"""What a run costs and how soon a command answers, beside papermill alone and the import of azure-ai-ml.

``OPSLIB_BENCH_RUN_COST`` is how often each command is run: 10 for quoted figures. Without it `opslib run` alone is,
once. ``-s`` prints the medians: time, and the processor time of the command with its kernel and all else.
"""

import os
import resource
import subprocess
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

import pytest
from benchmarks.prepared_process import NOWHERE, Place, prepared_process, processor_time_s

from opslib.runner.notebooks import find_notebook

TIMES = int(os.environ.get("OPSLIB_BENCH_RUN_COST", "0"))

OPSLIB = (sys.executable, "-m", "opslib")

ANSWERS = {
    "opslib --help": [*OPSLIB, "--help"],
    "opslib run --help": [*OPSLIB, "run", "--help"],
    "opslib run, refused": [*OPSLIB, "run", "rollback", "-p", "too=blue"],
    "opslib runs": [*OPSLIB, "runs"],
    "opslib status --help": [*OPSLIB, "status", "--help"],
    "papermill --help": [sys.executable, "-m", "papermill", "--help"],
    "import azure.ai.ml": [sys.executable, "-c", "import azure.ai.ml"],
}


COUNTED_AFTER_S = 0.2
"""A run's processor time counts as its prepared process's once that has waited for its end [seconds]."""


@dataclass(frozen=True)
class Cost:
    """Time and processor time of one command [seconds]."""

    time_s: float
    cpu_s: float


def cost_of(command: Sequence[str], folder: str, place: Place = NOWHERE, pid: int = 0) -> Cost:
    """Run a command to its end, with what it costs the prepared process that it finds in a place."""
    already_s = processor_time_s(pid) if pid else 0.0
    begun_s, before = time.perf_counter(), resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=folder, env=os.environ | place, capture_output=True, check=False, timeout=300)
    time_s, after = time.perf_counter() - begun_s, resource.getrusage(resource.RUSAGE_CHILDREN)
    cpu_s = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    if pid:
        time.sleep(COUNTED_AFTER_S)
        cpu_s += processor_time_s(pid) - already_s
    return Cost(time_s, cpu_s)


def print_medians(name: str, costs: Sequence[Cost]) -> None:
    time_s, cpu_s = (median(values) for values in zip(*((one.time_s, one.cpu_s) for one in costs), strict=True))
    print(f"\n{name}: {time_s:.2f} s, {cpu_s:.2f} s of processor time")


@pytest.mark.skipif(not TIMES, reason="the times of answers are measured where they are quoted")
def test_how_soon_a_command_answers(tmp_path):
    """Help, refusals and lists, beside what a user would otherwise wait for."""
    for name, command in ANSWERS.items():
        print_medians(name, [cost_of(command, str(tmp_path)) for _ in range(TIMES)])
    with prepared_process() as (place, pid):
        refused = ANSWERS["opslib run, refused"]
        print_medians("prepared, refused", [cost_of(refused, str(tmp_path), place, pid) for _ in range(TIMES)])


def test_what_a_dry_run_costs(make_world, tmp_path, monkeypatch):
    """A new process each, then two at a time: the kernel of `opslib run` is a fork of its process."""
    world = make_world(green={})
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path / "runs"))
    given = {"endpoint": world.name, "to": "green", "dry_run": "true"}
    options = [text for name, value in given.items() for text in ("-p", f"{name}={value}")]
    pairs = [text for name, value in given.items() for text in ("-p", name, value)]
    commands = {"opslib run": [*OPSLIB, "run", "rollback", *options]}
    if TIMES:
        out = str(tmp_path / "out.ipynb")
        commands["papermill"] = [sys.executable, "-m", "papermill", str(find_notebook("rollback")), out, *pairs]
    for name, command in commands.items():
        measure(name, command, tmp_path, NOWHERE, 0)
    if TIMES:
        with prepared_process() as (place, pid):
            measure("opslib run, prepared", commands["opslib run"], tmp_path, place, pid)
    assert len(list((tmp_path / "runs").glob("2*/*/attestation.dsse.json"))) == (6 * TIMES or 1)


def measure(name: str, command: Sequence[str], folder: Path, place: Place, pid: int) -> None:
    """Print what one run costs, and how many a second go two at a time."""
    print_medians(name, [cost_of(command, str(folder), place, pid) for _ in range(TIMES or 1)])
    if TIMES:
        begun_s = time.perf_counter()
        with ThreadPoolExecutor(2) as pool:
            list(pool.map(lambda _: cost_of(command, str(folder), place), range(2 * TIMES)))
        print(f"{name}, two at a time: {2 * TIMES / (time.perf_counter() - begun_s):.2f} runs a second")
