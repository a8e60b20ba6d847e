"""A run reaches the intended workspace, or none."""

import json
import ssl

import pytest

from opslib.azure.connect import connect
from opslib.azure.create_deployment import _ml_client
from opslib.errors import ConnectError


@pytest.fixture
def home(tmp_path, sandbox, monkeypatch):
    """A copy of the sandbox's note in a separate folder, to be damaged."""
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(tmp_path))
    for variable in sandbox.note["environment"]:
        monkeypatch.delenv(variable, raising=False)
    monkeypatch.setenv("NO_PROXY", "*")
    (tmp_path / "sandbox.json").write_text(json.dumps(sandbox.note))
    return tmp_path


def rewrite(home, **environment):
    note = json.loads((home / "sandbox.json").read_text())
    note["environment"].update(environment)
    (home / "sandbox.json").write_text(json.dumps(note))


def test_the_sandbox_is_found_by_its_note_alone(home, sandbox):
    """No variable needs to be set for opslib itself; the scope is the sandbox's."""
    workspace = connect("sandbox")
    assert workspace.scope.resource_manager == sandbox.url
    assert workspace.scope.workspace_name == sandbox.workspace["workspace_name"]
    assert workspace.scope.principal != "unknown"


def test_a_sandbox_that_is_not_running_is_reported(home):
    """The message names the command that starts it, and the parameter for a workspace in Azure."""
    (home / "sandbox.json").unlink()
    with pytest.raises(ConnectError, match="opslib sandbox up"):
        connect("sandbox")


def test_a_note_that_a_crash_left_behind_is_not_trusted(home):
    """The message reports that the sandbox does not answer."""
    note = json.loads((home / "sandbox.json").read_text())
    note["url"] = "https://127.0.0.1:9"
    (home / "sandbox.json").write_text(json.dumps(note))
    with pytest.raises(ConnectError, match="does not answer"):
        connect("sandbox")


def test_a_stale_ca_is_refused(home):
    """A certificate that the CA bundle does not trust ends the run before anything is sent."""
    ca = home / "other.pem"
    ca.write_text(ssl.DER_cert_to_PEM_cert(b""))
    rewrite(home, REQUESTS_CA_BUNDLE=str(ca))
    with pytest.raises(ConnectError, match="stale CA"):
        connect("sandbox")


def test_a_ca_that_is_gone_is_refused(home):
    """A CA bundle that does not exist is an error, not a fallback to other authorities."""
    rewrite(home, REQUESTS_CA_BUNDLE=str(home / "gone.pem"))
    with pytest.raises(ConnectError, match=r"gone\.pem"):
        connect("sandbox")


def test_variables_of_the_public_cloud_are_refused_for_the_sandbox(home, monkeypatch):
    """With target "sandbox" a run never reaches Azure, whatever the environment variables are."""
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", "https://management.azure.com/metadata/endpoints")
    expected = r"ARM_CLOUD_METADATA_URL is https://management\.azure\.com.*nothing was sent"
    with pytest.raises(ConnectError, match=expected):
        connect("sandbox")


def test_variables_of_the_sandbox_are_refused_for_azure(home, monkeypatch, tmp_path, sandbox):
    """With target "azure" a run never reaches the sandbox."""
    (tmp_path / "config.json").write_text(json.dumps(sandbox.workspace))
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("ARM_CLOUD_METADATA_URL", sandbox.note["environment"]["ARM_CLOUD_METADATA_URL"])
    with pytest.raises(ConnectError, match='pass target="sandbox"'):
        connect("azure")


def test_a_cloud_that_describes_another_is_refused(home, sandbox):
    """The resolved base URL must be the expected one: localhost is not 127.0.0.1."""
    note = json.loads((home / "sandbox.json").read_text())
    note["url"] = note["url"].replace("127.0.0.1", "localhost")
    (home / "sandbox.json").write_text(json.dumps(note))
    with pytest.raises(ConnectError, match="describes another cloud"):
        connect("sandbox")


@pytest.mark.parametrize(
    ("content", "message"),
    [(None, "found no config.json"), ("{", "is not a workspace's config.json"), ("{}", "subscription_id")],
)
def test_a_workspace_that_is_not_named_is_refused(home, tmp_path, content, message):
    """The message explains where to get the file and which fields it needs."""
    path = tmp_path / "config.json"
    if content is not None:
        path.write_text(content)
    with pytest.raises(ConnectError, match=message):
        connect(str(path))


def test_the_sdk_is_refused_where_it_resolved_another_cloud(home, monkeypatch):
    """azure-ai-ml only warns and uses the public cloud; opslib raises before it sends anything."""
    workspace = connect("sandbox")
    monkeypatch.delenv("ARM_CLOUD_METADATA_URL")
    monkeypatch.setenv("AZUREML_CURRENT_CLOUD", "AzureCloud")
    with pytest.raises(ConnectError, match=r"resolved https://management\.azure\.com, expected https://127"):
        _ml_client(workspace)
