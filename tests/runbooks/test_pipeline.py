"""The shell steps of a pipeline, executed in order on the sandbox, job by job."""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
import yaml
from runbook_world import QUICK_CANARY, World
from waves import make_wave

from opslib.cli.main import main
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.signing.keys import find_signing_key, public_pem
from opslib.evidence.verify.verify import verify
from opslib.fleet.jobs import azureml_files
from opslib.model import Outcome
from opslib.pipelines.release import Release
from opslib.pipelines.render import render_pipeline
from opslib.policy.policy import RELEASE_FIELDS

STAND_IN = """#!{python} -IS
import json, socket, sys
with socket.socket(socket.AF_UNIX) as test:
    test.connect({address!r})
    test.sendall(json.dumps(sys.argv[1:]).encode())
    test.shutdown(socket.SHUT_WR)
    answer = json.loads(b"".join(iter(lambda: test.recv(65536), b"")))
print(answer["printed"], end="")
sys.exit(answer["code"])
"""
"""`opslib` on the PATH of a step: the test's process runs the command line, without importing everything again."""

NOT_HERE = {"Install", "Sign in by workload identity"}
"""Steps that need a package feed and GitHub's own token."""


class Machine:
    """A machine of GitHub: it runs a job's steps with bash, and keeps artifacts from job to job."""

    def __init__(self, root: Path, workflow: Path) -> None:
        self.root = root
        self.jobs = yaml.safe_load(workflow.read_text())["jobs"]
        self.codes: dict[str, int] = {}
        self.printed = ""

    def run(self, job: str, server: socket.socket, environment: dict[str, str], attempt: int = 1) -> bool:
        """Run a job in a folder without earlier runs; return whether all steps passed."""
        shutil.rmtree(self.root / "runs", ignore_errors=True)
        passed = True
        for step in self.jobs[job]["steps"]:
            if "run" in step and step["name"] not in NOT_HERE and (passed or step.get("if") == "always()"):
                code = self._step(step["run"], server, environment)
                self.codes[f"{job}: {step['name']}"] = code
                passed = passed and code == 0
            elif "upload-artifact" in step.get("uses", "") and step["with"]["path"] == "runs/":
                name = step["with"]["name"].replace("${{ github.run_attempt }}", str(attempt))
                shutil.copytree(self.root / "runs", self.root / "before" / name, copy_function=shutil.copyfile)
        return passed

    def _step(self, script: str, server: socket.socket, environment: dict[str, str]) -> int:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        with subprocess.Popen(command, cwd=self.root, env=environment, stdout=subprocess.PIPE, text=True) as shell:
            while shell.poll() is None:
                try:
                    connection, _ = server.accept()
                except TimeoutError:
                    continue
                with connection:
                    words = json.loads(connection.makefile().read())
                    with redirect_stdout(StringIO()) as printed:
                        code = main(words)
                    answer = {"printed": printed.getvalue(), "code": code}
                    connection.sendall(json.dumps(answer).encode())
            assert shell.stdout is not None
            self.printed += shell.stdout.read()
        return shell.returncode


@contextmanager
def opslib_on_path(folder: Path) -> Iterator[socket.socket]:
    """Put a stand-in for opslib into a folder; yield the socket that it connects to."""
    (folder / "bin").mkdir()
    program, address = folder / "bin" / "opslib", str(folder / "s")
    program.write_text(STAND_IN.format(python=sys.executable, address=address))
    program.chmod(0o755)
    with socket.socket(socket.AF_UNIX) as server:
        server.bind(address)
        server.listen()
        server.settimeout(0.05)
        yield server


def write_folder(world: World) -> None:
    """The folder of an endpoint whose canaries one person approves."""
    quick = QUICK_CANARY | {"stages": [50, 100], "max_bake_s": 60}
    folder = world.folder / "endpoint"
    own = replace(world, folder=folder)
    folder.mkdir()
    for name in ("code", "model"):
        shutil.copytree(world.folder / name, folder / name)
    shutil.copy(world.folder / "conda.yml", folder)
    (folder / "endpoint.yml").write_text(f"name: {world.name}\nauth_mode: key\n")
    (folder / "claims.jsonl").write_text(
        '{"request": {"data": [1, 2]}, "answer": {"version": "green", "sum": 3}}\n'
    )
    own.definition("green")
    own.policy(
        validation={"file": "claims.jsonl"},
        approvals=[{"runbooks": ["canary"], "count": 1}],
        retention={"release_cycles": 0, "days": 0},
        objectives={"max_failure_rate": 0.1},
        release={name: value for name, value in quick.items() if name in RELEASE_FIELDS},
    )


def test_a_release_waits_at_the_gate_and_runs_to_its_end_once_its_plan_is_approved(
    make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every job of the release and of the watch beside it, in order; every run is kept and verifies."""
    world = make_world(old={})
    monkeypatch.chdir(world.folder)
    write_folder(world)
    approvers = keep_approver(world.folder / "endpoint", monkeypatch, tmp_path / "ann")
    monkeypatch.setenv("OPSLIB_APPROVERS", str(approvers))
    assert main(["pipeline", "github", "endpoint"]) == 0
    machine = Machine(world.folder, world.folder / f".github/workflows/{world.name}-release.yml")
    with opslib_on_path(tmp_path) as server:
        given = {"TARGET": "sandbox", "DEPLOYMENT": "green", "RETIRE": "old", "REASON": "$(false) a 'new' model"}
        given |= {"TICKET": "", "REQUESTER": "joe", "ARCHIVE_URL": "", "RUNNER_TEMP": str(world.folder)}
        given |= {"GITHUB_STEP_SUMMARY": str(tmp_path / "summary.md")}
        path = f"{tmp_path / 'bin'}:{os.environ['PATH']}"
        environment = os.environ | given | {"PATH": path, "GIT_CEILING_DIRECTORIES": "/"}
        passed = [machine.run(job, server, environment) for job in ("check", "deploy", "canary")]
        assert passed == [True, True, False], machine.printed
        assert {name: code for name, code in machine.codes.items() if code} == {"canary: Canary": 6}
        assert "gate waiting: approve the plan" in machine.printed
        assert (world.folder / "reports/check.sarif").exists()
        assert (world.folder / "reports/check.xml").exists()
        assert world.read().traffic == {"blue": 100}
        kept = world.folder / "before/runs-2-canary-1"
        rows, _ = find_runs(kept, RunQuery(limit=0))
        assert [(row.runbook, row.outcome) for row in reversed(rows)] == UP_TO_THE_GATE
        assert verify(kept).findings == ()
        assert json.loads(rows[0].parameters)["reason"] == given["REASON"]
        assert "waiting" in (tmp_path / "summary.md").read_text()
        with monkeypatch.context() as patch:
            patch.setenv("XDG_CONFIG_HOME", str(tmp_path / "ann"))
            plan = next(kept.glob(f"2*/{rows[0].run}/plan.json"))
            assert main(["approve", str(plan), "--who", ANN, "--to", "approvals/ann.json"]) == 0
        with world.clients(rps=25):
            assert machine.run("canary", server, environment, attempt=2), machine.printed
        assert "gate open: all traffic is on the new deployment" in machine.printed
        assert world.read().traffic == {"green": 100}
        assert machine.run("retire", server, environment), machine.printed
        assert world.read().deployment_names() == "blue, green"
        kept = world.folder / "before/runs-3-retire-1"
        rows, _ = find_runs(kept, RunQuery(limit=0))
        assert [(row.runbook, row.outcome) for row in reversed(rows)] == TO_THE_END
        assert verify(kept).findings == ()
        watch = Machine(world.folder, world.folder / f".github/workflows/{world.name}-watch.yml")
        assert watch.run("sweep", server, environment), watch.printed
        assert not watch.run("drift", server, environment), "blue has no definition, which is drift"
    assert watch.codes["drift: Compare with the definitions"] == 3
    compared = json.loads((world.folder / "reports/drift.json").read_text())["resource_changes"]
    drifted = {one["name"]: one["change"]["actions"] for one in compared if one["change"]["actions"] != ["no-op"]}
    assert drifted == {f"{world.name}/blue": ["delete"]}


UP_TO_THE_GATE = [
    ("deploy", Outcome.SUCCEEDED),
    ("validate", Outcome.SUCCEEDED),
    ("canary", Outcome.PLANNED),
    ("canary", Outcome.WAITING),
]
TO_THE_END = [*UP_TO_THE_GATE, ("canary", Outcome.SUCCEEDED), ("retire", Outcome.SUCCEEDED)]

ANN = "ann@harborshield.example"


def keep_approver(folder: Path, monkeypatch: pytest.MonkeyPatch, settings: Path) -> Path:
    """Keep the public key of ann, who has settings of her own, in an endpoint's folder."""
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(settings))
        key = public_pem(find_signing_key().private.public_key())
    path = folder / "approvers.pem"
    path.write_text(f"who: {ANN}\n{key}")
    return path


def test_azureml_loads_the_jobs_and_schedules(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """azure-ai-ml reads each file, and its own validation finds nothing."""
    from azure.ai.ml import load_job  # noqa: PLC0415 - takes seconds
    from azure.ai.ml.entities._load_functions import load_schedule  # noqa: PLC0415

    monkeypatch.chdir(tmp_path)
    release = Release(
        "fraud", "fraud", ("blue", "green"), "azure", "", True, ("fraud/approvers.pem",), "opslib==0.1.0"
    )
    for path, text in render_pipeline("azureml", release).items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)
    jobs = [load_job(f"azureml/fraud-{name}.yml") for name in ("release", "canary", "sweep", "drift")]
    assert [list(job.jobs) for job in jobs] == [
        ["check", "deploy", "validate", "plan"],
        ["canary", "retire", "publish"],
        ["sweep"],
        ["drift"],
    ]
    assert [job._validate().error_messages for job in jobs] == [{}] * 4
    schedules = [load_schedule(f"azureml/fraud-{name}-schedule.yml") for name in ("sweep", "drift")]
    assert [one.trigger.expression for one in schedules] == ["*/15 * * * *", "20 5 * * *"]


def test_azureml_loads_the_jobs_of_a_wave(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """A job for each batch, which takes over the archive of the one before."""
    from azure.ai.ml import load_job  # noqa: PLC0415 - takes seconds

    monkeypatch.chdir(tmp_path)
    plan = make_wave(6, batches=["1", "50%"], target="azure")
    for path, text in azureml_files("azureml:cpu", plan, Path("wave.yml"), ("--ticket=CHG 1",)).items():
        Path(path).parent.mkdir(exist_ok=True)
        Path(path).write_text(text)
    jobs = [load_job(f"azureml/wave-december{name}.yml") for name in ("", "-resume")]
    assert [list(job.jobs) for job in jobs] == [["batch_1", "batch_2", "batch_3"], ["resume"]]
    assert [job._validate().error_messages for job in jobs] == [{}] * 2
    commands = [one.component.command for one in jobs[0].jobs.values()]
    assert "opslib fleet run wave.yml --on local --batch 1 '--ticket=CHG 1'" in commands[0]
    assert "opslib fleet resume december --on local --batch 3" in commands[2]
    assert jobs[0].settings.default_compute == "cpu"
