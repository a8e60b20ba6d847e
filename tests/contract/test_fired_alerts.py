"""An alert of the sandbox as preflight finds it: on an endpoint whose requests' minute is complete."""

from pathlib import Path

import httpx
import pytest
import yaml
from awaiting import wait_until
from sandbox_fixture import RunningSandbox
from served import Counted

from opslib.evidence.run.run_lock import release
from opslib.model import Finding, Level
from opslib.parameters.scale import ScaleParameters
from opslib.runbooks.run import Run
from opslib.runbooks.scale import check_scale


def rule(scope: str, threshold: float) -> dict[str, object]:
    """A rule of severity 1 on the requests of the last hour."""
    criterion = {
        "name": "c", "metricName": "RequestsPerMinute", "operator": "GreaterThanOrEqual", "threshold": threshold,
        "timeAggregation": "Average", "criterionType": "StaticThresholdCriterion",
    }  # fmt: skip
    kind = "Microsoft.Azure.Monitor.SingleResourceMultipleMetricCriteria"
    properties = {
        "severity": 1, "enabled": True, "scopes": [scope], "evaluationFrequency": "PT1M", "windowSize": "PT1H",
        "criteria": {"odata.type": kind, "allOf": [criterion]},
    }  # fmt: skip
    return {"location": "global", "tags": {}, "properties": properties}


def finding(endpoint: str, **given: object) -> Finding:
    """What the preflight of a scale finds about alerts."""
    wanted = {"endpoint": endpoint, "dry_run": True, "deployment": "blue", "instances": 2}
    run = Run.open(ScaleParameters.check(wanted | given))
    findings = check_scale(run, run.read_endpoint())
    release(run.folder)
    return next(one for one in findings if one.check == "alerts")


def test_an_alert_that_has_fired_blocks_a_change(
    arm: httpx.Client, sandbox: RunningSandbox, counted: Counted, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """A rule of severity 1 that any number of requests meets; one that was resolved does not count."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("OPSLIB_SANDBOX_HOME", str(sandbox.home.root))
    scope, group = sandbox.endpoint_id(counted.endpoint), sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    path, alerts = (
        f"{group}/providers/{kind}"
        for kind in ("Microsoft.Insights/metricAlerts/any-request", "Microsoft.AlertsManagement/alerts")
    )

    def conditions() -> set[str]:
        rows = [row for row in arm.get(alerts).json()["value"] if row["name"] == "any-request"]
        return {row["properties"]["essentials"]["monitorCondition"] for row in rows}

    arm.put(path, json=rule(scope, 0)).raise_for_status()
    wait_until(lambda: conditions() == {"Fired"}, within_s=120)  # of a whole minute
    found = finding(counted.endpoint)
    assert found.level is Level.BLOCKER
    assert f"any-request (severity 1) fired on {counted.endpoint}" in found.evidence
    owner = {"team": "claims", "contact": "on-call", "dependents": ["payouts"]}
    permitted = {"version": 1, "endpoint": counted.endpoint, "owner": owner, "monitoring": {"block_severity": 0}}
    (tmp_path / "policy.yml").write_text(yaml.safe_dump(permitted))
    assert finding(counted.endpoint, policy="policy.yml").level is Level.WARNING
    arm.put(path, json=rule(scope, 1e9)).raise_for_status()
    wait_until(lambda: conditions() == {"Resolved"})
    assert finding(counted.endpoint).level is Level.OK
    arm.delete(path).raise_for_status()
