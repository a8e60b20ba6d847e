"""How long after it is typed a rollback has moved the traffic: `opslib run`, papermill alone, azure-ai-ml.

`opslib run` is measured with and without the prepared process of `opslib warm`.

``OPSLIB_BENCH_ROLLBACKS`` is how often each is run: 10 for quoted figures. Without it `opslib run` alone is, once.
``-s`` prints the medians.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import datetime, timedelta
from math import nan
from pathlib import Path
from statistics import median

from benchmarks.prepared_process import NOWHERE, Place, prepared_process

from opslib.evidence.run.files import JOURNAL
from opslib.evidence.run.journal import read_journal
from opslib.evidence.run.record import read_record
from opslib.model import Outcome
from opslib.runner.notebooks import find_notebook

TIMES = int(os.environ.get("OPSLIB_BENCH_ROLLBACKS", "0"))

SCRIPT = """
import sys, time
from azure.ai.ml import MLClient
from azure.identity import DefaultAzureCredential

client = MLClient(DefaultAzureCredential(), *sys.argv[1:4])
endpoint = client.online_endpoints.get(sys.argv[4])
endpoint.traffic = {"blue": 100}
client.online_endpoints.begin_create_or_update(endpoint).result()
print(time.time())
"""


def type_command(command: Sequence[str], folder: Path, place: Place) -> tuple[float, float, str]:
    """Run a command; return when it was typed, when it ended [seconds since 1970], and what it printed."""
    typed_s = time.time()
    environment = os.environ | place
    done = subprocess.run(
        command, cwd=folder, env=environment, capture_output=True, text=True, check=False, timeout=120
    )
    assert done.returncode == 0, done.stderr[-2000:]
    return typed_s, time.time(), done.stdout


def moved_and_verified_s(archive: Path) -> tuple[float, float]:
    """When the newest run had moved its traffic, and its first verified answer came [seconds since 1970]."""
    newest = max(archive.glob(f"2*/*/{JOURNAL}"), key=lambda path: path.parent.name)
    assert read_record(newest.parent).outcome is Outcome.SUCCEEDED
    events = {str(line["event"]): line for line in read_journal(newest)}
    first = events["probes"]["data"][0]
    answered = datetime.fromisoformat(first["sent_at"]) + timedelta(milliseconds=first["latency_ms"])
    return datetime.fromisoformat(events["applied"]["at"]).timestamp(), answered.timestamp()


def test_an_emergency_rollback_moves_the_traffic_first(make_world, tmp_path, monkeypatch):
    """From typing to moved traffic, and to the end of the command."""
    world = make_world(green={})
    scope, probes, archive = world.workspace.scope, world.probes("blue"), tmp_path / "typed"
    monkeypatch.setenv("OPSLIB_RUNS", str(archive))
    given = {"endpoint": world.name, "to": "blue", "probes": probes, "verify_requests": "5"}
    options = [text for name, value in given.items() for text in ("-p", f"{name}={value}")]
    pairs = [text for name, value in given.items() for text in ("-p", name, value)]
    notebook, out = str(find_notebook("rollback")), str(tmp_path / "out.ipynb")
    names = (scope.subscription_id, scope.resource_group, scope.workspace_name, world.name)
    typed = [sys.executable, "-m", "opslib", "run", "rollback", *options]
    commands = {
        "opslib run": typed,
        "opslib run, prepared": typed,
        "papermill": [sys.executable, "-m", "papermill", notebook, out, *pairs],
        "azure-ai-ml": [sys.executable, "-c", SCRIPT, *names],
    }
    if not TIMES:
        del commands["opslib run, prepared"], commands["papermill"], commands["azure-ai-ml"]
    after_s: dict[str, list[tuple[float, float, float]]] = {name: [] for name in commands}
    with prepared_process() if TIMES else nullcontext((NOWHERE, 0)) as (place, _):
        for _ in range(TIMES or 1):
            for name, command in commands.items():
                world.route(green=100)
                begun_s, ended_s, printed = type_command(
                    command, tmp_path, place if name.endswith("prepared") else NOWHERE
                )
                times = (
                    (float(printed.split()[-1]), nan) if name == "azure-ai-ml" else moved_and_verified_s(archive)
                )
                after_s[name].append((times[0] - begun_s, times[1] - begun_s, ended_s - begun_s))
                assert world.read().traffic == {"blue": 100}
    for name, measured in after_s.items():
        moved_s, verified_s, sealed_s = (median(one[column] for one in measured) for column in range(3))
        print(f"\n{name}: moved after {moved_s:.2f} s, verified {verified_s:.2f} s, ended {sealed_s:.2f} s")
    assert all(moved_s < verified_s < sealed_s for moved_s, verified_s, sealed_s in after_s["opslib run"])
