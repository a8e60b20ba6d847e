"""A company's production on a sandbox, and the clients that send it requests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from time import monotonic, sleep

from opslib.azure.connect import connect
from opslib.azure.diagnostics import DIAGNOSTICS_API_VERSION
from opslib.azure.endpoints import read_endpoint
from opslib.azure.request_log import TRAFFIC_LOG
from opslib.demo.claims import write_repository
from opslib.errors import OpsError

RATE = 60
"""Client requests per second in the demo."""


def build_practice(folder: Path) -> None:
    """Write HarborShield's repository and build its production on the running sandbox.

    Parameters
    ----------
    folder
        A new folder for the repository.

    Raises
    ------
    OpsError
        If the folder exists, no sandbox runs, or the production cannot be built.
    """
    if folder.exists():
        raise OpsError(f"{folder} exists: name a new folder")
    connect("sandbox")
    write_repository(folder.resolve())
    build_production(folder.resolve(), "fraud")


def build_production(repository: Path, endpoint: str) -> None:
    """Create an endpoint with deployment blue from its repository, and keep its request log.

    Raises
    ------
    OpsError
        If it cannot be built; the message holds what azure-ai-ml printed.
    """
    workspace = connect("sandbox")
    scope = workspace.scope
    names = (scope.subscription_id, scope.resource_group, scope.workspace_name)
    command = [sys.executable, "-W", "ignore", "-m", "opslib.demo.production", str(repository), *names]
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=300)
    if done.returncode:
        raise OpsError(f"the production could not be built:\n{done.stdout}\n{done.stderr}")
    created = read_endpoint(workspace, endpoint)
    workspace.arm.write(
        "PUT",
        f"{created.id}/providers/Microsoft.Insights/diagnosticSettings/request-log",
        DIAGNOSTICS_API_VERSION,
        body={
            "properties": {
                "workspaceId": f"{scope.workspace_id.split('/providers/')[0]}/providers/"
                "Microsoft.OperationalInsights/workspaces/demo",
                "logs": [{"category": TRAFFIC_LOG, "enabled": True}],
            }
        },
        deadline_s=60.0,
        progress=lambda _: None,
    )


@contextmanager
def demo_sandbox(home: Path) -> Iterator[None]:
    """Run a sandbox in a folder of its own; stop it at the end and restore the environment variables."""
    before = dict(os.environ)
    os.environ["OPSLIB_SANDBOX_HOME"] = str(home)
    os.environ.pop("ARM_CLOUD_METADATA_URL", None)
    _run_opslib("sandbox", "up")
    try:
        yield
    finally:
        _run_opslib("sandbox", "down")
        os.environ.clear()
        os.environ.update(before)


@contextmanager
def client_traffic(repository: Path, report: Path, endpoint: str, rps: float) -> Iterator[None]:
    """Send client requests to an endpoint, and write one line per answer to a report."""
    command = [sys.executable, "-m", "opslib", "sandbox", "traffic", endpoint, "--rps", str(rps)]
    command += ["--seconds", "3600", "--body-file", str(repository / "live.jsonl"), "--report", str(report)]
    clients = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _await_first_answer(clients, report)
        yield
    finally:
        clients.terminate()
        clients.communicate(timeout=60)


def _await_first_answer(clients: "subprocess.Popen[str]", report: Path) -> None:
    started_s = monotonic()
    while not (report.exists() and report.stat().st_size):
        if clients.poll() is not None or monotonic() - started_s > 60:
            clients.terminate()
            raise OpsError(f"the clients received no answer: {clients.communicate()[1]}")
        sleep(0.1)


def _run_opslib(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "opslib", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OpsError(f"opslib {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
