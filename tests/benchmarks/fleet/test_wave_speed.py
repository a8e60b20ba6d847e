"""A wave of rollbacks beside a shell's loop and `xargs -P` over `opslib run`: time, and what only the wave leaves.

``OPSLIB_BENCH_WAVE`` is the number of endpoints: 8 for quoted figures. Without it nothing is measured: a run costs
seconds of processor time. ``-s`` prints the times, the ratios and the processor time.
"""

import os
import resource
import shlex
import subprocess
import sys
import time
from pathlib import Path

import pytest
import yaml

from opslib.evidence.verify.verify import verify

ENDPOINTS = int(os.environ.get("OPSLIB_BENCH_WAVE", "0"))
AT_ONCE = 2
OPSLIB = f"{sys.executable} -m opslib"


def run_shell(text: str, folder: Path) -> tuple[float, float]:
    """Run a command; return its time and the processor time of all its processes [seconds]."""
    before, began = resource.getrusage(resource.RUSAGE_CHILDREN), time.monotonic()
    done = subprocess.run(
        ["bash", "-c", text], cwd=folder, capture_output=True, text=True, check=False, timeout=900
    )
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    used = (after.ru_utime + after.ru_stime) - (before.ru_utime + before.ru_stime)
    return time.monotonic() - began, used


@pytest.mark.skipif(not ENDPOINTS, reason="OPSLIB_BENCH_WAVE is not set")
def test_a_wave_takes_no_longer_than_the_shell(make_world, tmp_path):
    """The same runs, as many at once; a wave adds its plan, its gates and its record."""
    worlds = [make_world() for _ in range(ENDPOINTS)]
    names = " ".join(world.name for world in worlds)
    parameters = {"to": "blue", "probes": worlds[0].probes("blue"), "verify_requests": 2}
    options = " ".join(f"-p {name}={shlex.quote(str(value))}" for name, value in parameters.items())
    select = {"match": {"endpoint": [world.name for world in worlds]}}
    content = {"version": 1, "name": "speed", "runbook": "rollback", "select": select, "parameters": parameters}
    (tmp_path / "wave.yml").write_text(yaml.safe_dump({**content, "max_concurrency": AT_ONCE}))
    one = f"{OPSLIB} run rollback --runs {{}} {options} -p endpoint="
    commands = {
        "opslib fleet run": f"{OPSLIB} fleet run wave.yml --runs wave",
        f"xargs -P {AT_ONCE}": f"printf '%s\\n' {names} | xargs -P {AT_ONCE} -I @ {one.format('xargs')}@",
        "a loop": f"for one in {names}; do {one.format('loop')}$one || exit; done",
    }
    times = {name: run_shell(text, tmp_path) for name, text in commands.items()}
    base_s = times["opslib fleet run"][0]
    for name, (took_s, used_s) in times.items():
        print(f"{name:<18} {took_s:6.1f} s  {took_s / base_s:5.2f}  {used_s:6.1f} s of processor time")
    found = verify(tmp_path / "wave")
    assert (found.state, found.sealed) == ("sound", len(worlds) + 1)
