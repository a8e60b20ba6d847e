"""Play the release: production under client traffic, five runbooks that end well, and one that must not."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from time import monotonic, sleep
from typing import Any

from opslib.azure.connect import connect
from opslib.azure.endpoints import read_endpoint
from opslib.azure.request_log import TRAFFIC_LOG
from opslib.azure.source import DIAGNOSTICS_API_VERSION
from opslib.demo.claims import prepare
from opslib.errors import OpsError
from opslib.evidence.run.files import NOTEBOOK
from opslib.evidence.run.record import Record
from opslib.model import Outcome
from opslib.runner.execute import execute
from opslib.show.progress import print_event
from opslib.show.table import Table

RATE = 60
"""Client requests per second, as HarborShield's claim handlers send them."""

WATCHED = {"min_requests": 50, "late_data_s": 60, "source": "request log"}

QUICK = {
    **WATCHED,
    "bake_s": 20,
    "max_bake_s": 180,
    "settle_s": 0,
    "warm_up_s": 5,
    "max_failure_rate": 0.05,
    "tolerated_slowdown": 1.0,
    "max_slowdown": 4.0,
    "proven_quantiles": [0.5, 0.95],
}
"""A demonstration bakes for seconds, so it reads the request log with wide limits: what is proved in seconds
on a busy laptop is little. Production bakes for minutes, with the defaults."""


@dataclass(frozen=True)
class Act:
    """One run of the release and how it must end."""

    runbook: str
    parameters: Mapping[str, Any]
    wanted: Outcome = Outcome.SUCCEEDED


@dataclass(frozen=True)
class Played:
    """One run as it went."""

    act: Act
    folder: Path
    record: Record


def play(archive: Path) -> int:
    """Play the whole release; return 0 if every run ended as it must and no operation cost a client a request."""
    begun_s = monotonic()
    with tempfile.TemporaryDirectory(prefix="opslib-demo-") as scratch:
        repository, report = Path(scratch) / "harborshield", Path(scratch) / "clients.jsonl"
        print("HarborShield trains its models and starts a sandbox", flush=True)
        prepare(repository)
        with _sandbox(Path(scratch) / "sandbox"):
            print("its production: endpoint fraud, deployment blue (v1), by azure-ai-ml alone", flush=True)
            _build_production(repository)
            with _clients(repository, report):
                played = [_perform(act, archive) for act in _acts(repository)]
        requests = [json.loads(line) for line in report.read_text().splitlines()]
    problems = [*_wrong_endings(played), *_lost_requests(requests)]
    print(f"\n{_summary(played, requests).text}\n\nin {monotonic() - begun_s:.0f} s; the notebooks:")
    for one in played:
        print(f"  {os.path.relpath(one.folder / NOTEBOOK)}")
    for problem in problems:
        print(f"NOT AS IT MUST BE: {problem}", file=sys.stderr)
    return 1 if problems else 0


def stage(folder: Path) -> int:
    """Lay out HarborShield's repository and build its production on the sandbox that is up: to practise on.

    Raises
    ------
    OpsError
        If the folder exists, or the production cannot be built.
    """
    if folder.exists():
        raise OpsError(f"{folder} exists already: name a new folder")
    connect("sandbox")
    prepare(folder.resolve())
    _build_production(folder.resolve())
    print(f"endpoint fraud serves blue (v1); definitions, probes and live requests are in {folder}. Its clients:")
    print(f"  opslib sandbox traffic fraud --rps 40 --seconds 3600 --body-file {folder / 'live.jsonl'}")
    return 0


def _acts(repository: Path) -> tuple[Act, ...]:
    def path(name: str) -> str:
        return str(repository / name)

    return (
        Act("deploy", {"definition": path("green.yml"), "probes": path("probes-v2.jsonl")}),
        Act("canary", {"canary": "green", "probes": path("probes-v2.jsonl"), **QUICK}),
        Act("scale", {"deployment": "green", "instances": 2, "observe_s": 15, "max_p95_ratio": 4, **WATCHED}),
        Act("rollback", {"probes": path("probes-v1.jsonl")}),
        Act("deploy", {"definition": path("amber.yml"), "probes": path("probes-v3.jsonl")}),
        Act("canary", {"canary": "amber", "probes": path("probes-v3.jsonl"), **QUICK}, Outcome.ROLLED_BACK),
    )


def _perform(act: Act, archive: Path) -> Played:

    shown = act.parameters.get("canary") or act.parameters.get("deployment") or ""
    print(f"\nopslib run {act.runbook} -p endpoint=fraud {shown and f'... ({shown})'}", flush=True)
    folder, record = execute(act.runbook, {"endpoint": "fraud", **act.parameters}, archive, 600.0, print_event)
    print(f"  {record.outcome}: {record.reason}", flush=True)
    return Played(act, folder, record)


@contextmanager
def _sandbox(home: Path) -> Iterator[None]:
    """Keep a sandbox of the demo's own running."""
    before = dict(os.environ)
    os.environ["OPSLIB_SANDBOX_HOME"] = str(home)
    os.environ.pop("ARM_CLOUD_METADATA_URL", None)
    _opslib("sandbox", "up")
    try:
        yield
    finally:
        _opslib("sandbox", "down")
        os.environ.clear()
        os.environ.update(before)


def _build_production(repository: Path) -> None:
    workspace = connect("sandbox")
    scope = workspace.scope
    names = (scope.subscription_id, scope.resource_group, scope.workspace_name)
    command = [sys.executable, "-W", "ignore", "-m", "opslib.demo.production", str(repository), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise OpsError(f"the production could not be built:\n{done.stdout}\n{done.stderr}")
    endpoint = read_endpoint(workspace, "fraud")
    workspace.arm.write(
        "PUT",
        f"{endpoint.id}/providers/Microsoft.Insights/diagnosticSettings/request-log",
        DIAGNOSTICS_API_VERSION,
        body={
            "properties": {
                "workspaceId": f"{scope.workspace_id.split('/providers/')[0]}/providers/"
                "Microsoft.OperationalInsights/workspaces/harborshield",
                "logs": [{"category": TRAFFIC_LOG, "enabled": True}],
            }
        },
        deadline_s=60.0,
        progress=lambda _: None,
    )


@contextmanager
def _clients(repository: Path, report: Path) -> Iterator[None]:
    """Keep HarborShield's clients asking, from before the first run until after the last."""
    command = [
        sys.executable,
        "-m",
        "opslib",
        "sandbox",
        "traffic",
        "fraud",
        "--rps",
        str(RATE),
        "--seconds",
        "1200",
    ]
    command += ["--body-file", str(repository / "live.jsonl"), "--report", str(report)]
    clients = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _await_first_answer(clients, report)
        yield
    finally:
        clients.terminate()
        clients.communicate(timeout=60)


def _await_first_answer(clients: "subprocess.Popen[str]", report: Path) -> None:
    begun_s = monotonic()
    while not (report.exists() and report.stat().st_size):
        if clients.poll() is not None or monotonic() - begun_s > 60:
            clients.terminate()
            raise OpsError(f"the clients got no answer: {clients.communicate()[1]}")
        sleep(0.1)


def _opslib(*words: str) -> None:
    done = subprocess.run([sys.executable, "-m", "opslib", *words], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OpsError(f"opslib {' '.join(words)} failed:\n{done.stdout}\n{done.stderr}")


def _wrong_endings(played: Sequence[Played]) -> Iterator[str]:
    for one in played:
        record, wanted = one.record, one.act.wanted
        if record.outcome is not wanted:
            yield f"{record.runbook} must end as {wanted}, ended as {record.outcome}: {record.reason}"


def _lost_requests(requests: Sequence[Mapping[str, Any]]) -> Iterator[str]:
    """Requests that failed for any other reason than the broken version's own fault."""
    lost = [r for r in requests if r["status"] != 200 and not (r["status"] == 424 and r["deployment"] == "amber")]
    if lost:
        yield f"{len(lost)} client requests failed because of an operation, the first: {lost[0]}"
    if not requests:
        yield "no client request was sent"


def _summary(played: Sequence[Played], requests: Sequence[Mapping[str, Any]]) -> Table:
    rows = []
    for one in played:
        record = one.record
        served = [
            r
            for r in requests
            if record.finished_at and record.started_at <= datetime.fromisoformat(r["at"]) <= record.finished_at
        ]
        failed = sum(r["status"] != 200 for r in served)
        moved = record.results.get("canary") or record.results.get("deployment") or record.results.get("to") or ""
        name = f"{record.runbook} {moved}".strip()
        rows.append((name, str(record.outcome), f"{record.duration_s or 0:.1f} s", str(len(served)), str(failed)))
    columns = ("run", "outcome", "duration", "requests served", "requests failed")
    return Table("A release of HarborShield's fraud model", columns, rows, right=columns[2:])
