"""How long after it is typed a rollback has moved the traffic: `opslib run`, papermill alone, azure-ai-ml.

``OPSLIB_BENCH_ROLLBACKS`` is how often each is run: 10 for quoted figures. Without it `opslib run` alone is, once.
``-s`` prints the medians.
"""

import os
import subprocess
import sys
import time
from collections.abc import Sequence
from datetime import datetime
from pathlib import Path
from statistics import median

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


def type_command(command: Sequence[str], folder: Path) -> tuple[float, float, str]:
    """Run a command; return when it was typed, when it ended [seconds since 1970], and what it printed."""
    typed_s = time.time()
    done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=120)
    assert done.returncode == 0, done.stderr[-2000:]
    return typed_s, time.time(), done.stdout


def moved_at_s(archive: Path) -> float:
    """When the newest run had moved its traffic [seconds since 1970]."""
    newest = max(archive.glob(f"2*/*/{JOURNAL}"), key=lambda path: path.parent.name)
    assert read_record(newest.parent).outcome is Outcome.SUCCEEDED
    (at,) = (line["at"] for line in read_journal(newest) if line["event"] == "applied")
    return datetime.fromisoformat(at).timestamp()


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
    commands = {
        "opslib run": [sys.executable, "-m", "opslib", "run", "rollback", *options],
        "papermill": [sys.executable, "-m", "papermill", notebook, out, *pairs],
        "azure-ai-ml": [sys.executable, "-c", SCRIPT, *names],
    }
    if not TIMES:
        commands = {"opslib run": commands["opslib run"]}
    moved_s: dict[str, list[float]] = {name: [] for name in commands}
    ended_s: dict[str, list[float]] = {name: [] for name in commands}
    for _ in range(TIMES or 1):
        for name, command in commands.items():
            world.route(green=100)
            typed, ended, printed = type_command(command, tmp_path)
            moved = float(printed.split()[-1]) if name == "azure-ai-ml" else moved_at_s(archive)
            moved_s[name].append(moved - typed)
            ended_s[name].append(ended - typed)
            assert world.read().traffic == {"blue": 100}
    for name in commands:
        print(f"\n{name}: moved after {median(moved_s[name]):.2f} s, ended after {median(ended_s[name]):.2f} s")
    assert median(moved_s["opslib run"]) < median(ended_s["opslib run"])
