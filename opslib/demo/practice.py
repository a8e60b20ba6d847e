"""A company's production on a sandbox, and the clients that send it requests."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from time import monotonic, sleep

from opslib.azure.connect import connect
from opslib.azure.diagnostics import DIAGNOSTICS_API_VERSION
from opslib.azure.endpoints import read_endpoint
from opslib.azure.request_log import TRAFFIC_LOG
from opslib.demo.claims import write_repository
from opslib.errors import NotFound, OpsError
from opslib.runner.fork_server import fork_server

RATE = 60
"""Client requests per second in the demo."""

BUILT_WITHIN_S = 300.0
"""Longest time that building a production takes [seconds]."""


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
    printed = _build(str(repository), scope.subscription_id, scope.resource_group, scope.workspace_name)
    try:
        created = read_endpoint(workspace, endpoint)
    except NotFound as error:
        raise OpsError(f"the production could not be built:\n{printed}") from error
    if created.traffic != {"blue": 100}:
        raise OpsError(f"the production was not built whole: traffic is {created.traffic}, not blue=100\n{printed}")
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


def _build(*arguments: str) -> str:
    """Run the program that builds a production, in a fork that has azure-ai-ml imported; return what it printed.

    The deploy runs that follow are forks of the same process, and need not import it again.
    """
    server = fork_server()
    server.prepare(["azure.ai.ml"])
    with TemporaryFile() as output, Path(os.devnull).open("rb") as nothing:
        process = server.start(
            "opslib.demo.production",
            arguments,
            environment=os.environ,
            folder=str(Path.cwd()),
            streams=(nothing.fileno(), output.fileno(), output.fileno()),
        )
        try:
            process.wait(BUILT_WITHIN_S)
        except subprocess.TimeoutExpired as error:
            raise OpsError(f"the production was not built within {BUILT_WITHIN_S:.0f} s") from error
        finally:
            process.kill()
        output.seek(0)
        return output.read().decode(errors="replace")


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
def client_traffic(repository: Path, report: Path, endpoint: str, rps: float, answers: int = 1) -> Iterator[None]:
    """Send client requests to an endpoint, and write one line per answer to a report.

    Parameters
    ----------
    rps
        Requests per second.
    answers
        How many answers have come before the block begins.
    """
    command = [sys.executable, "-m", "opslib", "sandbox", "traffic", endpoint, "--rps", str(rps)]
    command += ["--seconds", "3600", "--body-file", str(repository / "live.jsonl"), "--report", str(report)]
    clients = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    try:
        _await_answers(clients, report, answers)
        yield
    finally:
        clients.terminate()
        clients.communicate(timeout=60)


def _await_answers(clients: "subprocess.Popen[str]", report: Path, answers: int) -> None:
    started_s = monotonic()
    while not report.exists() or report.read_bytes().count(b"\n") < answers:
        if clients.poll() is not None or monotonic() - started_s > 60:
            clients.terminate()
            raise OpsError(f"the clients received no {answers} answers: {clients.communicate()[1]}")
        sleep(0.1)


def _run_opslib(*arguments: str) -> None:
    done = subprocess.run([sys.executable, "-m", "opslib", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        raise OpsError(f"opslib {' '.join(arguments)} failed:\n{done.stdout}\n{done.stderr}")
