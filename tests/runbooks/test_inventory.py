"""The inventory runbook, executed: it reads, and leaves a run that can be verified."""

import json

from estate_fixture import Estate

from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runner.execute import execute


def test_an_inventory_is_a_run_with_its_files(estate: Estate, tmp_path):
    """The notebook shows table and plot, the folder has every row, the record the sums, and nothing was written."""
    given = {"groups": ["team-0"], "reason": "monthly review"}
    folder, record = execute("inventory", given, tmp_path / "runs", 120.0)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    assert "12 deployments of 6 endpoints in 2 workspaces" in record.reason
    assert "-inventory-all-" in folder.name
    content = json.loads((folder / "inventory.json").read_text())
    assert (len(content["rows"]), content["unread"]) == (12, [])
    assert (folder / "inventory.csv").read_text().count("\n") == 13
    assert record.results["deployments"] == 12
    assert record.results["wasted_per_month"] > 0
    assert not (folder / "before.json").exists()
    notebook = (folder / "notebook.ipynb").read_text()
    assert "image/png" in notebook
    assert "idle: takes no traffic" in notebook
    assert verify(tmp_path / "runs").state is VerifyState.SOUND
