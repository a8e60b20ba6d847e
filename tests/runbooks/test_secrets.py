"""What opslib itself fetches to ask an endpoint never reaches the evidence, whatever the model answers."""

import pytest

from opslib.azure.endpoints import API_VERSION
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome

IN_FILE, IN_SET = "correct-horse-battery", "Server=db;User=ann;Password=staple-4711"


def test_the_endpoints_keys_are_in_no_file(world):
    """A model that echoes its caller's key back: masked in journal, notebook, record and report."""
    path = f"{world.workspace.scope.workspace_id}/onlineEndpoints/{world.name}/listKeys"
    keys = world.workspace.arm.post(path, API_VERSION).values()
    code = world.folder / "code" / "score.py"
    code.write_text(f"def init(): pass\ndef run(body): return {{'version': 'echo', 'said': {list(keys)!r}}}\n")
    folder, record = world.run("deploy", definition=world.definition("echo"), probes=world.probes("echo"))
    assert record.outcome is Outcome.FAILED, record.reason
    assert "[redacted]" in record.reason
    contents = {path.name: path.read_text() for path in folder.iterdir()}
    assert not [name for name, text in contents.items() for key in keys if key in text]
    assert verify(world.runs).state is VerifyState.SOUND


@pytest.mark.parametrize("refused", [False, True])
def test_a_secret_that_a_deployment_is_given_is_in_no_file(world, refused):
    """Its file has one, `set` another; neither is read back from Azure where nothing is created."""
    definition = world.definition("green", DB_PASSWORD=IN_FILE)
    given = [f"environment_variables.STORE={IN_SET}", *(["instance_type=Standard_None"] if refused else [])]
    folder, record = world.run("deploy", definition=definition, set=given, dry_run=True)
    assert record.outcome is (Outcome.REFUSED if refused else Outcome.PLANNED), record.reason
    contents = {path.name: path.read_text() for path in folder.iterdir()}
    assert not [name for name, text in contents.items() for secret in (IN_FILE, IN_SET) if secret in text]
    assert "[redacted]" in contents["run.json"]
    assert verify(world.runs).state is VerifyState.SOUND
