"""The deploy runbook, executed by papermill against the sandbox."""

import json

import nbformat
import pytest

from opslib.errors import ParameterError
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome


def test_passes_a_deployment_that_answers(world):
    """It is created at zero traffic and probed directly, and the run's folder has the whole evidence."""
    folder, record = world.run("deploy", definition=world.definition("green"), probes=world.probes("green"))
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    endpoint = world.read()
    assert endpoint.find("green").ready
    assert endpoint.traffic == {"blue": 100}
    files = {path.name for path in folder.iterdir()}
    told = {"run.json", "journal.jsonl", "notebook.ipynb", "kernel.log", "before.json", "after.json", "plan.json"}
    assert files == told | {"decisions.jsonl", "report.html", "attestation.dsse.json"}
    assert verify(world.runs).state is VerifyState.SOUND
    before, after = (json.loads((folder / f"{name}.json").read_text()) for name in ("before", "after"))
    assert [d["name"] for d in before["deployments"]] == ["blue"]
    assert [d["name"] for d in after["deployments"]] == ["blue", "green"]
    events = [json.loads(line)["event"] for line in (folder / "journal.jsonl").read_text().splitlines()]
    assert [e for e in events if e not in {"progress", "state"}] == [
        "opened", "preflight", "plan", "applying", "applied", "probes", "finished",
    ]  # fmt: skip
    assert record.scope.workspace_name == "sandbox"
    assert record.versions["azure-ai-ml"]


def test_fails_with_the_scripts_own_traceback_and_removes_what_it_left(world):
    """A script whose init raises: the reason carries the traceback, the deployment is gone, blue serves on."""
    with world.clients(rps=10) as report:
        folder, record = world.run("deploy", definition=world.definition("green", BROKEN="1"))
    assert record.outcome is Outcome.FAILED
    assert "no such feature: haste" in record.reason
    assert world.read().find("green") is None
    statuses = {json.loads(line)["status"] for line in report.read_text().splitlines()}
    assert statuses == {200}
    notebook = nbformat.read(folder / "notebook.ipynb", as_version=4)
    assert notebook.metadata.papermill.exception


def test_fails_a_deployment_that_answers_wrongly(world):
    """Ready is not enough: an answer that differs from the expected one removes the deployment again."""
    _, record = world.run("deploy", definition=world.definition("green"), probes=world.probes("green", total=7))
    assert record.outcome is Outcome.FAILED
    assert '"sum": 6' in record.reason
    assert '"sum": 7' in record.reason
    assert world.read().find("green") is None


def test_a_dry_run_plans_and_creates_nothing(world):
    """The plan is there with its commands; the endpoint is as before."""
    folder, record = world.run("deploy", definition=world.definition("green"), dry_run="true")
    assert record.outcome is Outcome.PLANNED
    assert world.read().find("green") is None
    assert "az ml online-deployment create --file" in (folder / "notebook.ipynb").read_text()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (None, "cannot be read"),
        ("name: [", "is not YAML"),
        ("just words", "expected a mapping"),
        ("name: green", "lacks endpoint_name, model, instance_type"),
        ("{name: green, endpoint_name: x, model: m, instance_type: t, instance_count: two}", "whole number"),
        ("{name: green, endpoint_name: other, model: m, instance_type: t}", "is for endpoint 'other'"),
    ],
)
def test_refuses_a_definition_that_does_not_say_what_it_must(world, content, said):
    """A clear error, the exit code of a refusal, and an unchanged endpoint."""
    path = world.folder / "bad.yml"
    if content is not None:
        path.write_text(content)
    before = world.read()
    _, record = world.run("deploy", definition=str(path))
    assert record.outcome is Outcome.REFUSED, record.reason
    assert said in record.reason
    assert world.read() == before


def test_refuses_a_name_that_is_taken(world):
    """An existing deployment is never replaced in place: that would have no undo."""
    _, record = world.run("deploy", definition=world.definition("blue"))
    assert record.outcome is Outcome.REFUSED
    assert "blue exists already" in record.reason


def test_refuses_an_endpoint_that_does_not_exist(world):
    """The message names the endpoints that there are."""
    _, record = world.run("deploy", definition=world.definition("green"), endpoint="nowhere")
    assert record.outcome is Outcome.REFUSED
    assert "'nowhere' does not exist" in record.reason
    assert world.name in record.reason


def test_refuses_unknown_parameters_before_a_kernel_starts(world):
    """Nothing is written, not even a folder."""
    with pytest.raises(ParameterError, match="definiton: unknown"):
        world.run("deploy", definiton="green.yml")
    assert not list(world.runs.iterdir())
