"""What opslib itself fetches to ask an endpoint never reaches the evidence, whatever the model answers."""

from opslib.azure.endpoints import API_VERSION
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome


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
