"""What a dry run cannot know, it states; the real run then ends as refused, with nothing created."""

import re
from pathlib import Path

import pytest
import yaml

from opslib.azure.create_deployment import create_deployment
from opslib.definitions.deployment import read_deployment
from opslib.errors import CreateRefused, DefinitionError
from opslib.evidence.run.run_lock import release
from opslib.model import Level, Outcome
from opslib.parameters.deploy import DeployParameters
from opslib.runbooks.deploy import check_deploy, deploy, plan_deploy
from opslib.runbooks.run import Run
from opslib.runbooks.steps.preflight import require_clear

ROUTE = {"port": 80, "path": "/"}
CONTAINER = {
    "code_configuration": None,
    "environment": {
        "image": "registry.invalid/own:1",
        "inference_config": {"scoring_route": ROUTE, "liveness_route": ROUTE, "readiness_route": ROUTE},
    },
}

NOT_KNOWN = {
    "registry": (
        {"model": "azureml://registries/azureml-meta/models/m/versions/1"},
        "models",
        "azureml://registries/azureml-meta/models/m/versions/1 could not be looked up: ",
    ),
    "curated environment": (
        {"environment": "azureml:AzureML-none-1.0@latest"},
        "environments",
        "azureml:AzureML-none-1.0@latest could not be looked up: ",
    ),
    "container": (CONTAINER, "beforehand", "whether the container answers on its routes"),
    "no code": ({"code_configuration": None}, "beforehand", "whether the image answers requests by itself"),
}


def changed(world, changes):
    path = Path(world.definition("green"))
    content = yaml.safe_load(path.read_text()) | changes
    path.write_text(yaml.safe_dump({name: value for name, value in content.items() if value is not None}))
    return str(path)


def test_what_only_the_creation_shows(world, monkeypatch):
    """A warning in the dry run that begins with "not known beforehand"; the real one is refused with its reason."""
    monkeypatch.chdir(world.runs.parent)
    before = world.read()
    for case, (changes, check, evidence) in NOT_KNOWN.items():
        given = {"endpoint": world.name, "definition": changed(world, changes)}
        run = Run.open(DeployParameters.check(given))
        endpoint = run.read_endpoint()
        findings = check_deploy(run, endpoint)
        require_clear(findings)
        found = {one.check: one for one in findings}[check]
        assert found.level is Level.WARNING, case
        assert found.evidence.startswith("not known beforehand: "), case
        assert evidence in found.evidence, case
        with pytest.raises(CreateRefused, match="501") as error:
            deploy(run, plan_deploy(run, endpoint))
        assert "no deployment was created" in str(error.value), case
        release(run.folder)
    assert world.read() == before


def test_a_refused_creation_ends_as_refused(world):
    """By the runner, too, although the creation had begun: exit code 2, nothing created."""
    _, record = world.run("deploy", definition=changed(world, CONTAINER))
    assert record.outcome is Outcome.REFUSED, record.reason
    assert "no image map declares a local command" in record.reason
    assert world.read().find("green") is None


def test_what_azure_ai_ml_prints_in_colours_is_plain_text(world):
    """Its message on a definition that it refuses, without the codes of a terminal; nothing was created."""
    path = Path(changed(world, {"startup_probe": {"period": 3}, "name": "green"}))
    definition = read_deployment(path, world.name)
    with pytest.raises(DefinitionError) as error:
        create_deployment(world.workspace, definition, 10.0, lambda _: None, lambda: None)
    assert 'does not load it: Validation for ManagedOnlineDeploymentSchema failed: { "startup_probe"' in str(
        error.value
    )
    assert not re.search(r"\x1b|\[3\dm", str(error.value))
    assert world.read().find("green") is None
