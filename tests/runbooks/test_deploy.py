"""The deploy runbook, executed by papermill against the sandbox."""

import json
from pathlib import Path

import nbformat
import pytest
import yaml

from opslib.azure.endpoints import API_VERSION, deployment_path
from opslib.errors import Drift, OpsError, ParameterError, PreflightError
from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.record import read_record
from opslib.evidence.run.run_lock import release
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import CreateDeployment, Level, Outcome
from opslib.parameters.deploy import DeployParameters
from opslib.runbooks.deploy import check_deploy, deploy, plan_deploy
from opslib.runbooks.run import Run
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.preflight import require_clear
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run


@pytest.fixture(autouse=True)
def own_archive(tmp_path, monkeypatch):
    """Runs without a notebook are kept in the test's own folder, too."""
    monkeypatch.setenv("OPSLIB_RUNS", str(tmp_path / "runs"))


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


def test_tags_of_another_form_are_refused_with_their_line(world, tmp_path):
    """Also where the policy requires one: a list of tags has none of them."""
    policy = tmp_path / "policy.yml"
    owner = "owner: {team: claims, contact: on-call}"
    policy.write_text(f"version: 1\nendpoint: {world.name}\n{owner}\ntags: {{deployment: [cost-center]}}\n")
    definition = Path(world.definition("green"))
    content = yaml.safe_load(definition.read_text()) | {"tags": ["cost-center"]}
    definition.write_text(yaml.safe_dump(content))
    _, record = world.run("deploy", definition=str(definition), policy=str(policy), dry_run=True)
    assert record.outcome is Outcome.REFUSED, record.reason
    assert "green lacks cost-center" in record.reason
    assert "a mapping of names to text" in record.reason


def test_another_name_than_the_files_is_refused(world):
    """The file's deployment is not what was wanted; `set` gives it another name."""
    definition = world.definition("green")
    _, record = world.run("deploy", definition=definition, deployment="amber")
    assert record.outcome is Outcome.REFUSED
    assert "defines 'green', and deployment='amber' was given" in record.reason
    _, record = world.run("deploy", definition=definition, deployment="amber", set=["name=amber"], dry_run=True)
    assert record.outcome is Outcome.PLANNED, record.reason


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
        ("name: green", "has no instance_type"),
        ("{name: green, instance_type: t}", "has no model: pass set with model=azureml:NAME:VERSION"),
        ("{name: {{NAME}}, model: m, instance_type: t}", "holds the placeholder {{NAME}}"),
        ("{name: green, type: kubernetes, model: m}", "is a Kubernetes online deployment"),
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
    record = try_to_deploy(world, definition=str(path))
    assert record.outcome is Outcome.REFUSED, record.reason
    assert said in record.reason
    assert world.read() == before


def test_a_refused_run_leaves_the_endpoint_as_it_was(world):
    """By the notebook, as above; the record has the reason."""
    path = world.folder / "bad.yml"
    path.write_text("{name: green, endpoint_name: other, model: m, instance_type: t}")
    before = world.read()
    _, record = world.run("deploy", definition=str(path))
    assert record.outcome is Outcome.REFUSED, record.reason
    assert "is for endpoint 'other'" in record.reason
    assert world.read() == before


def test_refuses_a_name_that_is_taken(world):
    """An existing deployment is never replaced in place: that would have no undo."""
    record = try_to_deploy(world, definition=world.definition("blue"))
    assert record.outcome is Outcome.REFUSED
    assert "blue exists already" in record.reason


def test_refuses_an_endpoint_that_does_not_exist(world):
    """The message names the endpoints that there are."""
    record = try_to_deploy(world, definition=world.definition("green"), endpoint="nowhere")
    assert record.outcome is Outcome.REFUSED
    assert "'nowhere' does not exist" in record.reason
    assert world.name in record.reason


def try_to_deploy(world, **given):
    """Read and check as the notebook does, which takes two CPU seconds; return the record of what was raised."""
    run = Run.open(DeployParameters.check({"endpoint": world.name, **given}))
    with pytest.raises(OpsError) as error:
        require_clear(check_deploy(run, run.read_endpoint()))
    run.record_error(error.value)
    release(run.folder)
    return read_record(run.folder)


def test_refuses_unknown_parameters_before_a_kernel_starts(world):
    """Nothing is written, not even a folder."""
    with pytest.raises(ParameterError, match="definiton: unknown"):
        world.run("deploy", definiton="green.yml")
    assert not list(world.runs.iterdir())


REFUSED = {
    "code that is not there": (
        {"code_configuration": {"code": "gone", "scoring_script": "score.py"}},
        "'gone', which",
    ),
    "script that is not there": (
        {"code_configuration": {"code": "code", "scoring_script": "s.py"}},
        "'s.py', which",
    ),
    "instance type": ({"instance_type": "Standard_NC6"}, "Standard_NC6 is not offered in the endpoint's region"),
    "timeout": (
        {"request_settings": {"request_timeout_ms": 300_000}},
        "is 300000; expected a whole number, 1 to 180,000",
    ),
    "tag": ({"tags": {"version": 3}}, 'Quote it: version: "3"'),
    "name": ({"name": "regular_deployment"}, "for example to regular-deployment"),
    "scale settings": ({"scale_settings": {"type": "target_utilization"}}, "is for Kubernetes deployments"),
    "model by label": ({"model": "azureml:no-such@latest"}, "azureml:no-such@latest is not in the workspace"),
    "model by version": ({"model": "azureml:no-such:3"}, "azureml:no-such:3 is not in the workspace"),
    "model by another label": ({"model": "azureml:no-such@prod"}, "azureml:no-such@prod is not in the workspace"),
    "model of a registry": (
        {"model": "azureml://registries/hub/models/m/versions/1"},
        "azureml://registries/hub/models/m/versions/1 is not in the registry hub",
    ),
    "environment": ({"environment": "azureml:no-such:1"}, "azureml:no-such:1 is not in the workspace"),
    "quota": ({"instance_type": "Standard_F32s_v2", "instance_count": 50}, "more needed (20 % reserve included)"),
}


def test_a_dry_run_refuses_what_the_real_run_would_meet(world):
    """Each kind of defect is a blocker with its place and its fix; nothing changes."""
    before = world.read()
    for case, (changes, message) in REFUSED.items():
        path = Path(world.definition("green"))
        path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | changes))
        run = Run.open(DeployParameters.check({"endpoint": world.name, "definition": str(path), "dry_run": True}))
        findings = check_deploy(run, run.read_endpoint())
        with pytest.raises(PreflightError) as error:
            require_clear(findings)
        assert message in str(error.value), case
        release(run.folder)
    assert world.read() == before


def test_what_az_takes_is_taken(world):
    """No endpoint_name, name and model from outside, unquoted environment variables: the deployment answers."""
    path = Path(world.definition("green", WORKER_COUNT=1))
    content = yaml.safe_load(path.read_text())
    del content["endpoint_name"], content["name"], content["model"]
    path.write_text(yaml.safe_dump(content))
    given = {
        "deployment": "green",
        "set": '["model.path=model", "tags.release=r7"]',
        "probes": world.probes("green"),
    }
    folder, record = world.run("deploy", definition=str(path), **given)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    green = world.read().find("green")
    assert green.arm["properties"]["environmentVariables"]["WORKER_COUNT"] == "1"
    assert green.arm["tags"]["release"] == "r7"
    assert "--set tags.release=r7" in (folder / "notebook.ipynb").read_text()
    assert "sent as the text '1', as az sends it" in (folder / "journal.jsonl").read_text()


def test_a_deployment_without_probes_is_not_called_tested(world):
    """The reason says that it was not tested."""
    _, record = world.run("deploy", definition=world.definition("green"))
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert record.reason == "green is ready at zero traffic; not tested"


def test_a_label_is_pinned_to_the_version_that_it_names(world):
    """What was planned is what is created, and the record says which version that was."""
    model = register_again(world.workspace, world.read().find("blue").arm["properties"]["model"], "named", "7")
    path = Path(world.definition("green"))
    path.write_text(yaml.safe_dump(yaml.safe_load(path.read_text()) | {"model": "azureml:named@latest"}))
    run = Run.open(DeployParameters.check({"endpoint": world.name, "definition": str(path)}))
    before = run.read_endpoint()
    findings = {one.check: one for one in check_deploy(run, before)}
    assert findings["models"].level is Level.WARNING
    plan = plan_deploy(run, before)
    assert plan.steps[0].model == model
    assert plan.steps[0].replacements == {"model": model}
    assert json.loads((run.folder / "plan.json").read_text())["steps"][0]["replacements"] == {"model": model}
    release(run.folder)


def register_again(workspace, model_id, name, version):
    """Register an anonymous model, which lists leave out, under a name; return azureml:name:version."""
    found = workspace.arm.get(model_id, API_VERSION)["properties"]["modelUri"]
    path = f"{workspace.scope.workspace_id}/models/{name}/versions/{version}"
    sent = {"properties": {"modelUri": found}}
    workspace.arm.write("PUT", path, API_VERSION, body=sent, deadline_s=10, progress=lambda _: None)
    return f"azureml:{name}:{version}"


def test_a_deployment_that_appears_during_the_upload_is_not_replaced(world):
    """An upload takes minutes: whether the name is free is read again right before the request."""
    step = CreateDeployment(world.name, "later", str(world.definition("blue")), "Standard_DS3_v2", 1, "")
    path, before = deployment_path(world.workspace, world.name, "later"), world.read().find("blue")
    body = {key: before.arm[key] for key in ("location", "sku")}
    body["properties"] = {
        **{key: before.arm["properties"][key] for key in ("model", "codeConfiguration", "environmentId")},
        "instanceType": before.instance_type,
        "endpointComputeType": "Managed",
        "description": "another's",
    }

    def create_another(text):
        if text.startswith("uploading"):
            world.workspace.arm.write("PUT", path, API_VERSION, body=body, deadline_s=60, progress=print)

    with pytest.raises(Drift, match="another change created later"):
        apply(step, world.workspace, 60.0, create_another)
    assert world.read().find("later").arm["properties"]["description"] == "another's"


def test_another_changes_deployment_is_neither_replaced_nor_deleted(world, monkeypatch):
    """It was created after the plan: at whatever moment that is noticed, the undo leaves it alone."""
    definition = str(world.definition("blue"))
    run = Run.open(DeployParameters.check({"endpoint": world.name, "definition": definition}))
    release(run.folder)
    plan = plan_deploy(run, run.read_endpoint())
    with pytest.raises(Drift, match="another change created blue"):
        deploy(run, plan)
    assert JournalEvent.APPLYING not in {one["event"] for one in read_journal(run.journal.path)}
    monkeypatch.setattr("opslib.runbooks.deploy.require_absent", lambda *_: None)  # it comes a moment later
    with pytest.raises(Drift, match="another change created blue") as raised:
        deploy(run, plan)
    run.record_error(raised.value)
    assert undo_interrupted_run(run.folder) == ""
    assert JournalEvent.UNDOING not in {one["event"] for one in read_journal(run.journal.path)}
    assert world.read().find("blue").ready
