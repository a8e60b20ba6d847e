"""An endpoint's folder written from the live endpoint: what is written deploys the same again."""

import json
from datetime import UTC, datetime, timedelta

import pytest
import yaml
from awaiting import wait_until
from runbook_world import put

from opslib.azure.endpoint_changes import edit_tags
from opslib.azure.source import find_source
from opslib.cli.main import main
from opslib.definitions.rules import FIELDS, OF_THE_SERVICE
from opslib.errors import DefinitionError
from opslib.model import Outcome
from opslib.policy.folder import check_folder
from opslib.scaffold.folder import write_folder
from opslib.scaffold.policy_file import MIN_REQUESTS

SECRET = "correct-horse-battery"


def test_what_is_written_deploys_the_same_again(world, sandbox):
    """Assets by reference, settings, probes, variables; secrets are left out and named; nothing is overwritten."""
    with sandbox.arm() as arm:
        blue = world.read().find("blue").arm
        changed = json.loads(json.dumps(blue))
        changed["properties"] |= {
            "description": "as live",
            "environmentVariables": {"VERSION": "blue", "DB_PASSWORD": SECRET, "MAX_TOKENS": "512"},
            "requestSettings": {"requestTimeout": "PT1M30S", "maxConcurrentRequestsPerInstance": 7},
            "livenessProbe": {"initialDelay": "PT20S", "period": "PT15S", "timeout": "PT5S", "failureThreshold": 3},
        }
        changed["tags"] = {"model_version": "v1"}
        put(arm, f"{world.read().id}/deployments/live", changed)
    folder = world.folder / "written"
    written = write_folder(world.workspace, world.name, folder)
    assert written.files == ("endpoint.yml", "blue.yml", "live.yml", "policy.yml", "policy.schema.json")
    assert written.to_fill_in == (
        "live.yml: environment_variables.DB_PASSWORD",
        "policy.yml: owner.team",
        "policy.yml: owner.contact",
    )
    assert SECRET not in "".join(path.read_text() for path in folder.iterdir())

    results = {(one.file, one.rule) for one in check_folder(folder).results if one.rule != "pinned"}
    assert results == {("live.yml", "readable"), ("policy.yml", "policy")}  # what a person must fill in
    with pytest.raises(DefinitionError, match=r"has blue\.yml, .* already: nothing was written"):
        write_folder(world.workspace, world.name, folder)

    given = {
        "definition": str(folder / "live.yml"),
        "set": f'["name=again", "environment_variables.DB_PASSWORD=env:{world.name}"]',
        "probes": world.probes("blue"),
    }
    _, record = world.run("deploy", **given)
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    live, again = (world.read().find(name).arm for name in ("live", "again"))
    for one in (live, again):
        one["properties"].pop("properties")
        one["properties"]["environmentVariables"].pop("DB_PASSWORD")
    assert again["properties"] == live["properties"]
    assert (again["tags"], again["sku"]) == (live["tags"], live["sku"])


def test_objectives_are_suggested_from_measured_traffic(world, capsys, monkeypatch):
    """The policy names what it was measured on; with the owner in the tags the folder passes the check."""
    edit_tags(world.workspace, world.name, lambda _: {"Team": "claims", "contact": "on-call"}, 30.0, print)
    with world.clients(rps=80):
        wait_until(lambda: requests_logged(world) >= MIN_REQUESTS, 60)
    monkeypatch.chdir(world.folder)
    capsys.readouterr()
    assert main(["init", world.name, "fraud", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["to_fill_in"] == []
    text = (world.folder / "fraud/policy.yml").read_text()
    assert "requests failed (0), p95" in text
    assert "in the request log:" in text
    policy = yaml.safe_load(text)
    assert 0 < policy["objectives"]["max_failure_rate"] <= 3 / MIN_REQUESTS + 0.005
    assert policy["objectives"]["max_p95_ms"] > 0
    assert policy["owner"] == {"team": "claims", "contact": "on-call"}
    assert main(["check", "fraud"]) == 0
    assert main(["init", "nowhere"]) == 2
    assert not (world.folder / "nowhere").exists()


def requests_logged(world):
    """Users' requests of the last minutes in the request log."""
    now = datetime.now(UTC)
    seen = find_source(world.workspace, world.read()).observe(now - timedelta(minutes=5), now)
    return sum(served.requests for served in seen.total.values())


def test_the_fields_are_those_that_azure_ai_ml_takes():
    """A field that it refuses is refused by a dry run too."""
    from azure.ai.ml._schema._deployment.online.online_deployment import (  # noqa: PLC0415 - takes seconds
        ManagedOnlineDeploymentSchema,
    )

    taken = {"$schema", *ManagedOnlineDeploymentSchema._declared_fields} - {"schema_ignored"}
    assert taken == FIELDS | OF_THE_SERVICE
