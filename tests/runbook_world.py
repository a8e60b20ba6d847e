"""An endpoint of its own for each runbook test: real deployments, real clients, real runs."""

import json
import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TextIO

import httpx
import yaml
from awaiting import wait_until
from prepared_opslib import start_opslib, use_prepared_fork_server

from opslib.azure import endpoint_changes
from opslib.azure.connect import Workspace
from opslib.azure.endpoints import API_VERSION, read_endpoint
from opslib.evidence.run.journal import read_journal
from opslib.evidence.run.record import Record
from opslib.model import Endpoint, SetTraffic
from opslib.runner.execute import execute

SCORE = """
import json, os, time

def init():
    if os.environ.get("BROKEN"):
        raise RuntimeError("no such feature: haste")

def run(body):
    request = json.loads(body)
    if sum(request["data"]) > 999 and os.path.exists(os.environ.get("BROKEN_BY", "")):
        raise RuntimeError("the features of large claims are gone")
    if request.get("rare") and os.environ.get("FRAGILE"):
        raise ValueError("nobody tested a rare request")
    time.sleep(float(os.environ.get("DELAY_S", "0")))
    return {"version": os.environ["VERSION"], "sum": sum(request["data"])}
"""


QUICK_CANARY: dict[str, object] = {
    "bake_s": 6,
    "max_bake_s": 18,
    "min_requests": 20,
    "late_data_s": 10,
    "settle_s": 0,
    "warm_up_s": 0,
    "max_failure_rate": 0.1,
    "tolerated_slowdown": 3,
    "max_slowdown": 20,
    "proven_quantiles": [0.5],
}
"""A canary that is judged within seconds: wide limits, since little is proved in seconds on a busy machine."""

COPIED = ("codeConfiguration", "model", "environmentId", "endpointComputeType", "instanceType", "requestSettings")
"""What a deployment that is created without a runbook has of blue."""


@dataclass(frozen=True)
class World:
    """One endpoint with a stable deployment `blue`, and what is needed to change it."""

    name: str
    folder: Path
    runs: Path
    workspace: Workspace

    def read(self) -> Endpoint:
        return read_endpoint(self.workspace, self.name)

    def definition(self, name: str, **variables: str) -> str:
        """Write a deployment.yml; `variables` decide how its script behaves."""
        path = self.folder / f"{name}.yml"
        content = {
            "name": name,
            "endpoint_name": self.name,
            "model": {"path": "model"},
            "code_configuration": {"code": "code", "scoring_script": "score.py"},
            "environment": {"image": "mcr.microsoft.com/azureml/minimal:1", "conda_file": "conda.yml"},
            "environment_variables": {"VERSION": name, **variables},
            "instance_type": "Standard_F2s_v2",
            "instance_count": 1,
            "request_settings": {"max_concurrent_requests_per_instance": 200},  # a busy machine is no 429
        }
        path.write_text(yaml.safe_dump(content))
        return str(path)

    def probes(self, version: str, total: int = 6) -> str:
        path = self.folder / f"probes-{version}-{total}.jsonl"
        path.write_text(json.dumps({"request": {"data": [1, 2, 3]}, "answer": {"version": version, "sum": total}}))
        return str(path)

    def policy(self, **sections: object) -> str:
        """Write a policy that names an owner and has these sections."""
        path = self.folder / "policy.yml"
        owner = {"team": "claims", "contact": "claims-on-call"}
        path.write_text(yaml.safe_dump({"version": 1, "endpoint": self.name, "owner": owner, **sections}))
        return str(path)

    def create(self, name: str, **variables: str) -> None:
        """Deploy what blue is, with other variables, by ARM: azure-ai-ml's first takes ten CPU seconds."""
        endpoint = self.read()
        blue = endpoint.find("blue").arm
        properties = {field: blue["properties"][field] for field in COPIED}
        properties["environmentVariables"] = {"VERSION": name, **variables}
        body = {field: blue[field] for field in ("location", "kind", "sku")} | {"properties": properties}
        path = f"{endpoint.id}/deployments/{name}"
        self.workspace.arm.write("PUT", path, API_VERSION, body=body, deadline_s=60.0, progress=lambda _: None)

    def route(self, **traffic: int) -> None:
        """Set traffic as somebody else would: by a PUT of their own."""
        step = SetTraffic(self.name, self.read().traffic, traffic)
        endpoint_changes.set_traffic(self.workspace, step, deadline_s=30.0, progress=lambda _: None)

    def run(self, runbook: str, *, timeout_s: float = 120.0, **given: object) -> tuple[Path, Record]:
        use_prepared_fork_server()
        return execute(runbook, {"endpoint": self.name, **given}, self.runs, timeout_s)

    def client_answers(self) -> list[dict[str, object]]:
        """What clients got so far."""
        return [answer for report in self.folder.glob("report-*.jsonl") for answer in answers(report)]

    @contextmanager
    def clients(
        self, rps: int = 20, rare: int = 8, seconds: int = 300, *, after: Callable[[], object] = lambda: None
    ) -> Iterator[Path]:
        """Keep clients sending requests, one rare request among `rare`; yield the file of their answers.

        `after` waits for the moment of the first request. The process is started before, and reads what to send
        from a named pipe: the time of its start is not part of a bake.
        """
        bodies, report = self.folder / "bodies.jsonl", self.folder / f"report-{time.monotonic_ns()}.jsonl"
        lines = [{"data": [1, 2, n], **({"rare": True} if n % rare == 0 else {})} for n in range(64)]
        bodies.unlink(missing_ok=True)
        os.mkfifo(bodies)
        options = (
            "--rps",
            str(rps),
            "--seconds",
            str(seconds),
            "--body-file",
            str(bodies),
            "--report",
            str(report),
        )
        output = self.folder / "traffic.txt"
        process = start_opslib("sandbox", "traffic", self.name, *options, folder=self.folder, output=output)
        try:
            after()
            pipe = wait_until(lambda: open_pipe(bodies) or process.poll() is not None)
            if not isinstance(pipe, bool):
                with pipe:
                    pipe.writelines(json.dumps(line) + "\n" for line in lines)
            wait_until(lambda: (report.exists() and report.stat().st_size) or process.poll() is not None)
            assert process.poll() is None, output.read_text()
            yield report
        finally:
            process.terminate()
            process.wait(timeout=30)


class Background:
    """A canary that runs in a thread, which does not outlive a test that has failed."""

    def __init__(self, world: World, **given: Any) -> None:
        self.world = world
        self._results: list[tuple[Path, Record]] = []
        self._thread = threading.Thread(
            target=lambda: self._results.append(world.run("canary", **({"canary": "green"} | given))), daemon=True
        )
        self._thread.start()

    @property
    def folder(self) -> Path:
        journals = f"2*/*-{self.world.name}-*/journal.jsonl"
        return wait_until(lambda: next((path.parent for path in self.world.runs.glob(journals)), None))

    def await_traffic(self) -> None:
        wait_until(lambda: journal(self.folder, "applied"))

    def await_question(self, number: int = 1) -> None:
        wait_until(lambda: len(journal(self.folder, "asked")) >= number)

    def await_bake(self) -> None:
        """Wait until the traffic has moved and is watched."""
        self.await_traffic()
        wait_until(lambda: any("baking" in text for text in journal(self.folder, "progress")))

    def result(self, within_s: float = 90.0) -> tuple[Path, Record]:
        self._thread.join(within_s)
        assert self._results, f"the run did not end within {within_s:g} s"
        return self._results[0]


def open_pipe(path: Path) -> TextIO | None:
    """Open a named pipe to write to, or return None as long as no process reads it."""
    try:
        return os.fdopen(os.open(path, os.O_WRONLY | os.O_NONBLOCK), "w")
    except OSError:
        return None


def put(arm: httpx.Client, path: str, body: dict[str, object]) -> None:
    arm.put(path, json=body).raise_for_status()
    wait_until(lambda: arm.get(path).json()["properties"]["provisioningState"] == "Succeeded")


def journal(folder: Path, event: str) -> list[Any]:
    """The values of one kind of event, in order."""
    return [line["data"] for line in read_journal(folder / "journal.jsonl") if line["event"] == event]


def answers(report: Path) -> list[dict[str, object]]:
    """What the clients got, without a line that is still being written."""
    whole = report.read_text().rpartition("\n")[0]
    return [json.loads(line) for line in whole.splitlines()]
