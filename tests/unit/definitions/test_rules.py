"""What azure-ai-ml or the service refuses, found before anything is sent; each rule fires once, and once not."""

import pytest
import yaml

from opslib.definitions.beforehand import find_unknown
from opslib.definitions.deployment import read_deployment
from opslib.definitions.endpoint import check_endpoint
from opslib.definitions.rules import Severity, check_deployment
from opslib.definitions.source import read_replacements, read_source
from opslib.errors import DefinitionError

GOOD = {
    "name": "green",
    "model": {"path": "model"},
    "code_configuration": {"code": "code", "scoring_script": "score.py"},
    "environment": {"image": "registry.invalid/minimal:1", "conda_file": "conda.yml"},
    "instance_type": "Standard_DS3_v2",
}
ROUTE = {"port": 80, "path": "/"}


@pytest.fixture
def folder(tmp_path):
    """Everything that the good definition names, and things that are wrong in one way each."""
    files = {
        "code/score.py": "def init(): ...\ndef run(data): ...\n",
        "code/imported.py": "from scoring import init, run\n",
        "code/torn.py": "def run(data:\n",
        "code/empty_handed.py": "def init(): ...\n",
        "conda.yml": "dependencies: [python=3.11]\n",
        "torn.yml": "dependencies: [\n",
        "list.yml": "- python\n",
        "model/MLmodel": "",
        "weights/w.bin": "",
    }
    for name, content in files.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    return tmp_path


def read(folder, changes, replacements=None):
    path = folder / "deployment.yml"
    content = {name: value for name, value in (GOOD | changes).items() if value is not None}
    path.write_text(yaml.safe_dump(content, sort_keys=False))
    return read_deployment(path, "fraud", replacements=replacements)


def script(name):
    return {"code_configuration": {"code": "code", "scoring_script": name}}


def conda(name):
    return {"environment": {"image": "x:1", "conda_file": name}}


def container(**routes):
    return {"environment": {"image": "x:1", "inference_config": routes}, "code_configuration": None}


@pytest.mark.parametrize(
    ("changes", "rule", "field", "fix"),
    [
        ({"startup_probe": {"period": 3}}, "unknown-field", "startup_probe", "longer initial_delay"),
        ({"livenessProbe": {}}, "unknown-field", "livenessProbe", "Did you mean liveness_probe?"),
        ({"readyness_probe": {}}, "unknown-field", "readyness_probe", "Did you mean readiness_probe?"),
        (
            {"egress_public_network_acess": "x"},
            "unknown-field",
            "egress_public_network_acess",
            "egress_public_network_access",
        ),
        ({"liveness_probe": {"path": "/"}}, "unknown-field", "liveness_probe.path", "Remove it"),
        ({"resources": {}}, "unknown-field", "resources", "Remove it"),
        ({"name": 12345}, "text", "name", 'Quote it: name: "12345"'),
        ({"endpoint_name": True}, "text", "endpoint_name", 'Quote it: endpoint_name: "true"'),
        ({"description": 3}, "text", "description", 'Quote it: description: "3"'),
        ({"environment_variables": {"A": None}}, "text", "environment_variables.A", 'A: ""'),
        ({"tags": {f"t{n}": "x" for n in range(51)}}, "text", "tags", "Remove some"),
        ({"name": "n" * 33}, "name", "name", "Rename it."),
        ({"app_insights_enabled": "maybe"}, "switch", "app_insights_enabled", "Correct it"),
        ({"egress_public_network_access": False}, "egress", "egress_public_network_access", "write disabled"),
        ({"scale_settings": "default"}, "scale-settings", "scale_settings", "Remove scale_settings"),
        (
            {"scale_settings": {"type": "default", "max_instances": 3}},
            "scale-settings",
            "scale_settings.max_instances",
            "Remove",
        ),
        (
            {"request_settings": {"request_timeout_ms": 0}},
            "number",
            "request_settings.request_timeout_ms",
            "Change it",
        ),
        (
            {"request_settings": {"max_queue_wait_ms": -1}},
            "number",
            "request_settings.max_queue_wait_ms",
            "Change it",
        ),
        (
            {"data_collector": {"collections": {"a": {"enabled": True}}}},
            "data-collector",
            "data_collector.collections.a.enabled",
            '"true"',
        ),
        (
            {"data_collector": {"collections": {}, "sampling_rate": 2}},
            "data-collector",
            "data_collector.sampling_rate",
            "Correct it",
        ),
        ({"model": "weights"}, "reference", "model", "Write model: {path: weights}"),
        ({"model": "fraud:3"}, "file", "model", "A registered model is azureml:fraud:3"),
        (
            {"model": {"path": ".\\weights"}},
            "file",
            "model.path",
            "forward slashes, which work everywhere: ./weights",
        ),
        ({"model": {"path": "weights", "type": "mlflow_model"}}, "file", "model.path", "the model's own folder"),
        ({"environment": "docker.io/x:1"}, "reference", "environment", "{image: docker.io/x:1}"),
        ({"environment": "AzureML-sklearn@latest"}, "reference", "environment", "azureml: before a registered one"),
        (container(scoring_route=ROUTE), "environment", "environment.inference_config", "{port: PORT, path: PATH}"),
        (
            {"code_configuration": {"code": "code", "scoring_script": "score.py", "entry": 1}},
            "unknown-field",
            "code_configuration.entry",
            "Remove it",
        ),
        (script("torn.py"), "script", "code_configuration.scoring_script", "Correct the script"),
        ({"liveness_probe": {"timeout": None}}, "empty", "liveness_probe.timeout", "Give it a value"),
        ({"model": ["azureml:m:1"]}, "form", "model", "Correct it"),
        ({"environment": ["azureml:e:1"]}, "form", "environment", "Correct it"),
        ({"data_collector": ["model_inputs"]}, "form", "data_collector", "Correct it"),
        (
            {"code_configuration": {"code": 3, "scoring_script": "score.py"}},
            "text",
            "code_configuration.code",
            'code: "3"',
        ),
        (conda("torn.yml"), "conda", "environment.conda_file", "Correct the file"),
        (conda("list.yml"), "conda", "environment.conda_file", "Correct the file"),
    ],
)
def test_what_would_be_refused_is_an_error(folder, changes, rule, field, fix):
    """One violation, with the field, and a fix that a person can type."""
    (found,) = [one for one in check_deployment(read(folder, changes)) if one.severity is Severity.ERROR]
    assert (found.rule, found.field) == (rule, field)
    assert fix in found.fix


@pytest.mark.parametrize(
    "changes",
    [
        {"app_insights_enabled": "yes"},
        {"app_insights_enabled": False},
        {"egress_public_network_access": "Disabled"},
        {"scale_settings": {"type": "default"}},
        {"scale_settings": {"type": "Default"}},
        {"request_settings": {"request_timeout_ms": "5000", "max_concurrent_requests_per_instance": 4}},
        {"data_collector": {"collections": {"a": {"enabled": "True"}}, "sampling_rate": 0.5}},
        {"model": {"path": "model", "type": "mlflow_model"}},
        {"model": "azureml:fraud:3"},
        {"environment": "azureml:env:1"},
        {"instance_count": "2"},
        {"tags": {"a": "x"}, "type": "managed", "private_network_connection": False},
        {"$schema": "https://azuremlschemas.azureedge.net/latest/managedOnlineDeployment.schema.json"},
        container(scoring_route=ROUTE, liveness_route=ROUTE, readiness_route=ROUTE),
        script("imported.py"),
        {"liveness_probe": {"timeout": 10, "period": 10}},
    ],
)
def test_what_is_accepted_breaks_no_rule(folder, changes):
    """Each as azure-ai-ml 1.35 loads it."""
    assert check_deployment(read(folder, changes)) == ()


@pytest.mark.parametrize(
    ("changes", "rule"),
    [
        ({"id": "/subscriptions/x"}, "unknown-field"),
        ({"provisioning_state": "Succeeded"}, "unknown-field"),
        ({"readiness_probe": {"timeout": 20}}, "probe"),
        ({"liveness_probe": {"timeout": 3, "period": 2}}, "probe"),
        (script("empty_handed.py"), "script"),
        ({"environment": "azureml://registries/azureml/environments/e/labels/latest"}, "pinned"),
    ],
)
def test_what_is_unwise_is_a_warning(folder, changes, rule):
    """It deploys, and a person should look."""
    found = check_deployment(read(folder, changes))
    assert [(one.rule, one.severity) for one in found] == [(rule, Severity.WARNING)]


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"\xef\xbb\xbfname: green\r\nmodel: azureml:m:1\r\ninstance_type: t\r\n", "green"),
        (b"x: &a {k: v}\nname: green\nmodel: azureml:m:1\ninstance_type: t\ntags: *a\n", "green"),
        (b"base: &b {k: v}\nname: green\nmodel: azureml:m:1\ninstance_type: t\ntags: {<<: *b, l: w}\n", "green"),
    ],
    ids=["byte order mark and CRLF", "alias", "merge"],
)
def test_files_of_other_editors_are_read(tmp_path, content, name):
    """A byte order mark, line ends of Windows, anchors and merge keys."""
    (tmp_path / "d.yml").write_bytes(content)
    assert read_deployment(tmp_path / "d.yml", "fraud").name == name


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name: green\nrequest_settings:\n\trequest_timeout_ms: 5\n", "line 3, column 1: found character '\\t'"),
        (b"name:\tgreen\n", "line 1, column 6: found character '\\t'"),
        ("name: green\n".encode("utf-16"), "is not UTF-8 text"),
        (b"name: green\nname: blue\n", ":2: name is given twice"),
        (b"a: &a [*a]\n", "leads back to the value"),
        (b"a: " + b"[" * 5000, "nested too deeply"),
        (b"name: ''\nmodel: azureml:m:1\ninstance_type: t\n", "has no name"),
        (b"- name: green\n", "expected a mapping"),
    ],
    ids=["tab", "tab after a name", "UTF-16", "twice", "circle", "depth", "empty name", "list"],
)
def test_files_that_cannot_be_used_are_refused_with_their_place(tmp_path, content, message):
    """One sentence that names the file and the place."""
    (tmp_path / "d.yml").write_bytes(content)
    with pytest.raises(DefinitionError) as error:
        read_deployment(tmp_path / "d.yml", "fraud")
    assert str(error.value).startswith(str(tmp_path / "d.yml"))
    assert message in str(error.value)


def test_set_replaces_as_az_does(folder):
    """Text sections take text, numbers are numbers, lists are reached by index, quotes are the shell's."""
    given = [
        "environment_variables.X=1",
        "tags.version=1.10",
        "tags.team='risk and claims'",
        "request_settings.request_timeout_ms=5000",
        "liveness_probe.period=7",
        "instance_count=2",
        "description=Fraud: version 3 # not a comment",
        "app_insights_enabled=True",
        'data_collector={"collections": {"a": {"enabled": "true"}}, "request_logging": {"capture_headers": ["x"]}}',
        "data_collector.request_logging.capture_headers[0]=y",
    ]
    definition = read(folder, {}, read_replacements(given))
    assert check_deployment(definition) == ()
    content = yaml.safe_load(definition.to_yaml())
    assert content["environment_variables"] == {"X": "1"}
    assert content["tags"] == {"version": "1.10", "team": "risk and claims"}
    assert content["request_settings"]["request_timeout_ms"] == 5000
    assert content["instance_count"] == 2
    assert content["description"] == "Fraud: version 3 # not a comment"
    assert content["app_insights_enabled"] is True
    assert content["data_collector"]["request_logging"]["capture_headers"] == ["y"]


@pytest.mark.parametrize(
    ("changes", "what", "usual"),
    [
        ({}, "whether the image registry.invalid/minimal:1 can be pulled", True),
        ({"model": "azureml://registries/hub/models/m/versions/1"}, "identity may read the model", True),
        (
            {"environment": "azureml://registries/azureml/environments/e/versions/1"},
            "identity may read the environment",
            True,
        ),
        ({"environment": "azureml:AzureML-sklearn:1"}, "the curated environment", True),
        (
            container(scoring_route=ROUTE, liveness_route=ROUTE, readiness_route=ROUTE),
            "answers on its routes",
            False,
        ),
        (
            {"model": None, "code_configuration": None, "environment": "azureml:packaged:1"},
            "packaged environment",
            False,
        ),
    ],
)
def test_what_only_the_creation_shows_is_named(folder, changes, what, usual):
    """What cannot be looked up: an identity's rights, an image, a container of its own."""
    found = [one for one in find_unknown(read(folder, changes)) if what in one.what]
    assert [one.usual for one in found] == [usual]


@pytest.mark.parametrize(
    ("content", "rule"),
    [
        ("auth_mode: key\n", "name"),
        ("name: a_b\n", "name"),
        ("name: fraud\nauth-mode: key\n", "unknown-field"),
        ("name: fraud\nauth_mode: open\n", "auth-mode"),
        ("name: fraud\nidentity: {type: robot}\n", "identity"),
        ("name: fraud\npublic_network_access: sometimes\n", "network"),
        ("name: fraud\ntags: {version: 3}\n", "text"),
        ("name: fraud\ntags: [a]\n", "text"),
        ("name: fraud\ntraffic: {blue: 90}\n", "traffic"),
        ("name: fraud\nmirror_traffic: {green: 60}\n", "traffic"),
        ("name: fraud\nmirror_traffic: {green: 10, red: 10}\n", "traffic"),
        ("name: fraud\nidentity: system_assigned\n", "identity"),
        ("name: fraud\ntags:\n", "empty"),
        ("name: fraud\ndescription: 3\n", "text"),
        ("name: fraud\ncompute: azureml:cluster\n", "unknown-field"),
        (
            "name: fraud\nidentity: {type: user_assigned, user_assigned_identities: [/subscriptions/x]}\n",
            "identity",
        ),
        ("name: fraud\nidentity: {type: user_assigned, user_assigned_identities: {resource_id: x}}\n", "identity"),
        ("name: fraud\nscoring_uri: x\n", "unknown-field"),
    ],
)
def test_an_endpoints_definition_is_checked(tmp_path, content, rule):
    """One violation at its line; the good one has none."""
    path = tmp_path / "endpoint.yml"
    path.write_text(content)
    (found,) = check_endpoint(read_source(path))
    assert found.rule == rule
    path.write_text(
        "name: fraud\nauth_mode: aad_token\ntraffic: {blue: 90, green: 10}\nmirror_traffic: {red: 50}\n"
    )
    assert list(check_endpoint(read_source(path))) == []


@pytest.mark.parametrize(
    "content",
    [
        "identity: {type: SystemAssigned}",
        "identity: {type: user_assigned, user_assigned_identities: [{resource_id: /subscriptions/x}]}",
        'traffic: {blue: "100"}',
        "public_network_access: Disabled",
        "auth_mode: Key",
    ],
)
def test_an_endpoints_definition_is_read_as_azure_ai_ml_reads_it(tmp_path, content):
    """Spellings that it loads break no rule."""
    path = tmp_path / "endpoint.yml"
    path.write_text(f"name: fraud\n{content}\n")
    assert list(check_endpoint(read_source(path))) == []
