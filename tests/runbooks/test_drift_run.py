"""The drift runbook, executed: a comparison with evidence, which fails where something drifted."""

import copy
import json

import pytest
from estate_fixture import Estate
from runbook_world import journal

from opslib.cli.main import main
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.drift import find_drift
from opslib.runner.execute import execute


def test_a_drift_is_a_run_with_its_evidence(estate: Estate, tmp_path, monkeypatch: pytest.MonkeyPatch):
    """One tag of one endpoint differs from the inventory: table, drift.json and record have it."""
    monkeypatch.chdir(tmp_path)
    assert main(["inventory", "--group", "team-0", "--output", "base.json"]) == 0
    base = json.loads((tmp_path / "base.json").read_text())
    base["resources"][0]["endpoint"]["tags"]["team"] = "claims"
    (tmp_path / "base.json").write_text(json.dumps(base))
    folder, record = execute("drift", {"base": "base.json", "reason": "weekly"}, tmp_path / "runs", 120.0)
    assert (record.outcome, record.results["drifted_fields"]) == (Outcome.FAILED, 1), record.reason
    assert record.reason.startswith("drift: 1 of 18 resources differ from base.json")
    plan = json.loads((folder / "drift.json").read_text())
    (changed,) = [one for one in plan["resource_changes"] if one["change"]["actions"] != ["no-op"]]
    assert changed["fields"] == [{"path": "tags.team", "before": "team-0", "after": "claims"}]
    assert journal(folder, "compared")[0]["drifted"][0]["fields"] == changed["fields"]
    shown = (folder / "notebook.ipynb").read_text()
    assert "az ml online-endpoint update --name" in shown
    assert not (folder / "before.json").exists()
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


def test_what_is_absent_is_named_where_another_part_cannot_be_read(estate: Estate, tmp_path):
    """A deployment that is gone is drift, though another endpoint's deployments are hidden; those are unknown."""
    base = tmp_path / "base.json"
    assert main(["inventory", "--group", "team-0", "--output", str(base)]) == 0
    content = json.loads(base.read_text())
    for resource in content["resources"]:
        amber = copy.deepcopy(resource["deployments"][0])
        amber["id"] = amber["id"].replace("/deployments/blue", "/deployments/amber")
        resource["deployments"].append(amber)
    base.write_text(json.dumps(content))
    names = [one["endpoint"]["name"] for one in content["resources"]]
    denied = {"operation": "OnlineDeployments_List", "endpoint": names[0], "status": 403}
    with estate.fault("arm-error", **denied, code="AuthorizationFailed"):
        report = find_drift(estate.workspace, base, lambda _: None, route="lists")
    assert [one.name for one in report.drifted] == [f"{name}/amber" for name in names[1:]]
    assert [names[0] in one.part for one in report.unread] == [True]
