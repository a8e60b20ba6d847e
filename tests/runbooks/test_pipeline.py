"""The shell steps of a pipeline, executed in order on the sandbox, job by job.

`OPSLIB_PIPELINES=all pytest -n 0 tests/runbooks/test_pipeline.py` runs the files of every system.
"""

import json
import os
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, redirect_stdout
from dataclasses import replace
from io import StringIO
from pathlib import Path

import pytest
from pipeline_jobs import SYSTEMS, Job
from runbook_world import QUICK_CANARY, World
from waves import make_wave

from opslib.cli.main import main
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.signing.keys import find_signing_key
from opslib.evidence.signing.public_keys import public_pem
from opslib.evidence.verify.verify import verify
from opslib.fleet.jobs import azureml_files
from opslib.model import Outcome
from opslib.pipelines.release import Release
from opslib.pipelines.render import FILES, render_pipeline
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


class Machine:
    """Runs jobs of a pipeline with bash, and keeps the runs from job to job as its system does."""

    def __init__(
        self, root: Path, jobs: Mapping[str, Job], server: socket.socket, given: Mapping[str, str]
    ) -> None:
        self.root = root
        self.jobs = jobs
        self.codes: dict[str, int] = {}
        self.printed = ""
        self._server = server
        self._given = given

    def run(self, name: str, before: Mapping[str, str] | None = None) -> bool:
        """Run a job; return whether all its steps passed. `before` names another job whose output it takes."""
        job, passed = self.jobs[name], True
        if job.archive != "runs":  # a machine of its own
            shutil.rmtree(self.root / "runs", ignore_errors=True)
        (self.root / "kept" / name).mkdir(parents=True, exist_ok=True)
        for step in job.steps:
            if passed or step.always:
                code = self._step(step.script, {**os.environ, **job.environment, **self._given, **(before or {})})
                self.codes[f"{name}: {step.name}"] = code
                passed = passed and code == 0
        if job.uploads:
            shutil.rmtree(self.root / job.uploads, ignore_errors=True)
            shutil.copytree(self.root / "runs", self.root / job.uploads, copy_function=shutil.copyfile)
        return passed

    def archive(self, name: str) -> Path:
        """Return where the runs of a job are kept."""
        return self.root / self.jobs[name].archive

    def _step(self, script: str, environment: Mapping[str, str]) -> int:
        command = ["bash", "--noprofile", "--norc", "-eo", "pipefail", "-c", script]
        with subprocess.Popen(command, cwd=self.root, env=environment, stdout=subprocess.PIPE, text=True) as shell:
            while shell.poll() is None:
                try:
                    connection, _ = self._server.accept()
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


@pytest.mark.parametrize("system", tuple(SYSTEMS) if os.environ.get("OPSLIB_PIPELINES") == "all" else ("github",))
def test_a_release_waits_at_the_gate_and_runs_to_its_end_once_its_plan_is_approved(
    system: str, make_world: Callable[..., World], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Every job of the release and of the watch beside it, in order; every run is kept and verifies."""
    world = make_world(old={})
    monkeypatch.chdir(world.folder)
    write_folder(world)
    approvers = keep_approver(world.folder / "endpoint", monkeypatch, tmp_path / "ann")
    monkeypatch.setenv("OPSLIB_APPROVERS", str(approvers))
    with opslib_on_path(tmp_path) as server:
        machine = Machine(world.folder, jobs_of(system, world), server, places(tmp_path))
        run_up_to_the_gate(machine, world, system)
        assert system != "github" or "waiting" in (tmp_path / "summary.md").read_text()
        approve_as_ann(machine.archive("canary"), monkeypatch, tmp_path / "ann")
        run_to_the_end(machine, world)
        assert machine.run("sweep"), machine.printed
        assert not machine.run("drift"), "blue has no definition, which is drift"
    assert 3 in machine.codes.values()
    reports = world.folder / ("kept/drift/reports" if system == "azureml" else "reports")
    compared = json.loads((reports / "drift.json").read_text())["resource_changes"]
    drifted = {one["name"]: one["change"]["actions"] for one in compared if one["change"]["actions"] != ["no-op"]}
    assert drifted == {f"{world.name}/blue": ["delete"]}


TYPED = {
    "deployment": "green",
    "retire": "old",
    "reason": "$(false) a 'new' model",
    "ticket": "",
    "archive_url": "",
}


def jobs_of(system: str, world: World) -> dict[str, Job]:
    """Write a system's files with the command, and return the jobs in them."""
    assert main(["pipeline", system, "endpoint"]) == 0
    paths = [path.format(world.name) for path in FILES[system]]
    files = {path: (world.folder / path).read_text() for path in paths}
    return dict(SYSTEMS[system](files, TYPED))


def places(folder: Path) -> dict[str, str]:
    """Variables of the machine that the jobs run on."""
    return {
        "TARGET": "sandbox",
        "RUNNER_TEMP": str(folder),
        "GITHUB_STEP_SUMMARY": str(folder / "summary.md"),
        "PATH": f"{folder / 'bin'}:{os.environ['PATH']}",
        "GIT_CEILING_DIRECTORIES": "/",
    }


def run_up_to_the_gate(machine: Machine, world: World, system: str) -> None:
    """Run the jobs up to the canary, which waits for an approval."""
    before = list(machine.jobs)[: list(machine.jobs).index("canary")]
    assert [machine.run(job) for job in before] == [True] * len(before), machine.printed
    assert not machine.run("canary")
    assert [code for code in machine.codes.values() if code] == [6]
    assert "gate waiting: approve the plan" in machine.printed
    reports = world.folder / ("kept/check/reports" if system == "azureml" else "reports")
    assert {path.name for path in reports.iterdir()} >= {"check.sarif", "check.xml"}
    assert world.read().traffic == {"blue": 100}
    rows, _ = find_runs(machine.archive("canary"), RunQuery(limit=0))
    assert [(row.runbook, row.outcome) for row in reversed(rows)] == UP_TO_THE_GATE
    assert verify(machine.archive("canary")).findings == ()
    assert json.loads(rows[0].parameters)["reason"] == TYPED["reason"]


def approve_as_ann(archive: Path, monkeypatch: pytest.MonkeyPatch, settings: Path) -> None:
    """Approve the plan of the newest run."""
    (newest,), _ = find_runs(archive, RunQuery(limit=1))
    with monkeypatch.context() as patch:
        patch.setenv("XDG_CONFIG_HOME", str(settings))
        plan = next(archive.glob(f"2*/{newest.run}/plan.json"))
        assert main(["approve", str(plan), "--who", ANN, "--to", "approvals/ann.json"]) == 0


def run_to_the_end(machine: Machine, world: World) -> None:
    """Run the canary again, and the jobs after it."""
    with world.clients(rps=25):
        assert machine.run("canary", {"BEFORE": "kept/canary"}), machine.printed
    assert "gate open: all traffic is on the new deployment" in machine.printed
    assert world.read().traffic == {"green": 100}
    for job in ("retire", *(job for job in ("publish",) if job in machine.jobs)):
        assert machine.run(job), machine.printed
    assert world.read().deployment_names() == "blue, green"
    rows, _ = find_runs(machine.archive("retire"), RunQuery(limit=0))
    assert [(row.runbook, row.outcome) for row in reversed(rows)] == TO_THE_END
    assert verify(machine.archive("retire")).findings == ()


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
