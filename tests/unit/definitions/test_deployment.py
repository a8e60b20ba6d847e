"""Deployment definitions as people publish them: how they are understood, and which rules they break."""

import pytest
import yaml

from opslib.definitions.deployment import Serving, read_deployment
from opslib.definitions.rules import RULES, Severity, check_deployment
from opslib.errors import DefinitionError

GOOD = {
    "name": "green",
    "endpoint_name": "fraud",
    "model": {"path": "model"},
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": {"image": "registry.invalid/minimal:1", "conda_file": "conda.yml"},
    "instance_type": "Standard_DS3_v2",
    "instance_count": 1,
}

ROUTES = ("scoring_route", "liveness_route", "readiness_route")


@pytest.fixture
def folder(tmp_path):
    """A folder with everything that the good definition names."""
    (tmp_path / "model").mkdir()
    (tmp_path / "code").mkdir()
    (tmp_path / "code/score.py").write_text("")
    (tmp_path / "conda.yml").write_text("")
    return tmp_path


def read(folder, without=(), endpoint="fraud", fallback="", replacements=None, **changes):
    content = {key: value for key, value in {**GOOD, **changes}.items() if key not in without}
    path = folder / "deployment.yml"
    path.write_text(yaml.safe_dump(content))
    return read_deployment(path, endpoint, fallback, replacements)


def broken(definition, severity=Severity.ERROR):
    return [(v.rule, v.field) for v in check_deployment(definition) if v.severity is severity]


def test_a_good_definition_breaks_no_rule(folder):
    """It is read as it is written."""
    definition = read(folder)
    assert check_deployment(definition) == ()
    assert (definition.name, definition.endpoint, definition.model) == ("green", "fraud", "model")
    assert definition.serving is Serving.SCRIPT
    assert yaml.safe_load(definition.to_yaml()) == GOOD


def test_the_runs_endpoint_and_name_fill_in_what_the_file_lacks(folder):
    """Most published files have no endpoint_name: az is given --endpoint-name, and --name."""
    definition = read(folder, without=("endpoint_name", "name"), endpoint="claims", fallback="blue")
    assert (definition.endpoint, definition.name) == ("claims", "blue")
    assert yaml.safe_load(definition.to_yaml())["endpoint_name"] == "claims"
    assert read(folder, endpoint="claims", fallback="blue").endpoint == "fraud"  # the file's own value stays


def test_the_model_may_be_set_from_outside(folder):
    """As `az ... --set model=azureml:fraud:3`."""
    definition = read(folder, without=("model",), replacements={"model": "azureml:fraud:3"})
    assert definition.model == "azureml:fraud:3"
    assert check_deployment(definition) == ()


@pytest.mark.parametrize(
    ("without", "message"),
    [
        ("model", "has no model: pass set with model=azureml:NAME:VERSION"),
        ("name", "has no name: pass deployment=NAME"),
        ("instance_type", "has no instance_type: add a line"),
    ],
)
def test_a_field_that_is_needed_is_named_with_an_example(folder, without, message):
    """One field, where it goes, and how it looks."""
    with pytest.raises(DefinitionError, match=message):
        read(folder, without=(without,))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"type": "kubernetes"}, "Kubernetes online deployment"),
        ({"$schema": "https://example.invalid/kubernetesOnlineDeployment.schema.json"}, "Kubernetes"),
        ({"$schema": "https://example.invalid/batchDeployment.schema.json"}, "batch deployment"),
        ({"instance_count": "two"}, "whole number of at least 1"),
        ({"instance_count": 0}, "whole number of at least 1"),
        ({"instance_count": True}, "whole number of at least 1"),
    ],
)
def test_what_is_no_managed_deployment_is_named_as_what_it_is(folder, changes, message):
    """A kind that opslib does not operate is no missing field."""
    with pytest.raises(DefinitionError, match=message):
        read(folder, **changes)


@pytest.mark.parametrize(
    ("without", "changes", "serving"),
    [
        ((), {}, Serving.SCRIPT),
        (("code_configuration", "environment"), {}, Serving.MLFLOW),
        (
            ("code_configuration",),
            {
                "environment": {
                    "image": "x:1",
                    "inference_config": {one: {"port": 80, "path": "/"} for one in ROUTES},
                }
            },
            Serving.CONTAINER,
        ),
        (("code_configuration", "model"), {"environment": "azureml:packaged:1"}, Serving.PACKAGE),
    ],
)
def test_each_kind_of_deployment_is_recognised(folder, without, changes, serving):
    """By the fields that it has."""
    definition = read(folder, without=without, **changes)
    assert definition.serving is serving
    assert broken(definition) == []


@pytest.mark.parametrize(
    ("changes", "rule", "field"),
    [
        ({"name": "regular_deployment"}, "name", "name"),
        ({"name": "ab"}, "name", "name"),
        ({"name": "a--b"}, "name", "name"),
        ({"name": "green-"}, "name", "name"),
        ({"endpoint_name": "1st"}, "name", "endpoint_name"),
        ({"instance_cuont": 2}, "unknown-field", "instance_cuont"),
        ({"tags": {"version": 3}}, "text", "tags.version"),
        ({"properties": {"a": True}}, "text", "properties.a"),
        ({"environment_variables": {"A": {"b": 1}}}, "text", "environment_variables.A"),
        ({"tags": ["a"]}, "text", "tags"),
        ({"instance_count": 51}, "instances", "instance_count"),
        ({"scale_settings": {"type": "target_utilization"}}, "scale-settings", "scale_settings.type"),
        ({"request_settings": {"request_timeout_ms": 300_000}}, "number", "request_settings.request_timeout_ms"),
        ({"request_settings": {"request_timeout_ms": "5 s"}}, "number", "request_settings.request_timeout_ms"),
        ({"request_settings": {"timeout_ms": 3}}, "unknown-field", "request_settings.timeout_ms"),
        ({"request_settings": 3}, "number", "request_settings"),
        ({"liveness_probe": {"success_threshold": 2}}, "number", "liveness_probe.success_threshold"),
        ({"readiness_probe": {"period": 0}}, "number", "readiness_probe.period"),
        ({"code_configuration": {"code": "gone", "scoring_script": "score.py"}}, "file", "code_configuration.code"),
        (
            {"code_configuration": {"code": "code", "scoring_script": "s.py"}},
            "file",
            "code_configuration.scoring_script",
        ),
        ({"code_configuration": {"code": "code"}}, "file", "code_configuration.scoring_script"),
        ({"model": {"path": "gone"}}, "file", "model.path"),
        ({"model": "gone"}, "file", "model"),
        ({"environment": {"image": "x:1", "conda_file": "gone.yml"}}, "file", "environment.conda_file"),
        ({"egress_public_network_access": "off"}, "egress", "egress_public_network_access"),
    ],
)
def test_a_broken_rule_is_found_with_its_line(folder, changes, rule, field):
    """One violation, at the field's own line, with what was expected and how to fix it."""
    definition = read(folder, **changes)
    (found,) = [v for v in check_deployment(definition) if v.severity is Severity.ERROR]
    assert (found.rule, found.field) == (rule, field)
    lines = definition.path.read_text().splitlines()
    assert field.rpartition(".")[2] in lines[found.line - 1] or field.count(".")
    assert found.expected
    assert found.fix


def test_a_name_is_shown_as_it_could_be(folder):
    """The fix is a name that Azure takes."""
    (found,) = check_deployment(read(folder, name="regular_deployment"))
    assert "regular-deployment" in found.fix


def test_unquoted_environment_variables_are_sent_as_az_sends_them(folder):
    """Numbers and booleans become the text that they were written as, and that is noted."""
    definition = read(folder, environment_variables={"WORKER_COUNT": 1, "DEBUG": True, "RATE": 0.5, "A": "b"})
    sent = yaml.safe_load(definition.to_yaml())["environment_variables"]
    assert sent == {"WORKER_COUNT": "1", "DEBUG": "true", "RATE": "0.5", "A": "b"}
    assert broken(definition) == []
    assert len(broken(definition, Severity.NOTE)) == 3


@pytest.mark.parametrize(
    ("changes", "field"),
    [
        ({"model": "azureml:fraud@latest"}, "model"),
        ({"environment": "azureml:env@latest"}, "environment"),
        ({"environment": {"image": "x/y:latest"}}, "environment.image"),
        ({"environment": {"image": "host:5000/y"}}, "environment.image"),
    ],
)
def test_what_may_change_tomorrow_is_warned_of(folder, changes, field):
    """A label or a mutable image tag is no error, and no version."""
    definition = read(folder, **changes)
    assert broken(definition) == []
    assert broken(definition, Severity.WARNING) == [("pinned", field)]


def test_a_digest_and_a_version_are_pinned(folder):
    """No warning for an image by digest."""
    definition = read(folder, environment={"image": "host:5000/y@sha256:abc", "conda_file": "conda.yml"})
    assert check_deployment(definition) == ()


def test_every_rule_has_a_meaning():
    """The first line of each rule's docstring is what reports show."""
    assert all(rule.__doc__ for rule in RULES)
