"""Drift of a live endpoint: none without a change, each field that a foreign client changed, and who it was."""

import json
from collections.abc import Iterator
from contextlib import contextmanager

import httpx
import pytest
from runbook_world import World, put
from sandbox_fixture import RunningSandbox

from opslib.cli.main import main


@contextmanager
def foreign(sandbox: RunningSandbox, scope: str = "") -> Iterator[httpx.Client]:
    """A client of another program, with a role on a scope (the workspace) and a name of its own."""
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as own:
        sent = {"name": "urbancart-script", "role": "Contributor", "scope": scope or sandbox.workspace_id}
        who = own.post("/sandbox/principals", json=sent).raise_for_status().json()["value"][0]
        form = {
            "grant_type": "client_credentials",
            "client_id": who["client_id"],
            "client_secret": who["client_secret"],
            "scope": f"{sandbox.url}/.default",
        }
        token = own.post(f"/{who['tenant_id']}/oauth2/v2.0/token", data=form).json()["access_token"]
        with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
            yield client
        own.delete("/sandbox/principals/urbancart-script").raise_for_status()


SEEN = {
    "properties.description",
    "tags.cost-center",
    "properties.publicNetworkAccess",
}
CHANGED = {
    "tags.stage",
    "properties.description",
    "properties.environmentVariables.MODE",
    "properties.requestSettings.requestTimeout",
    "properties.livenessProbe.period",
    "properties.appInsightsEnabled",
}


@pytest.fixture
def settled(world: World, tmp_path, monkeypatch) -> World:
    """An endpoint whose inventory and folder were written."""
    monkeypatch.chdir(tmp_path)
    assert main(["inventory", "--endpoint", world.name, "--output", "base.json"]) == 0
    assert main(["init", world.name, "folder"]) == 0
    return world


def plan_of(capsys, base: str, *options: str) -> tuple[int, dict]:
    """The exit code and the JSON of a comparison; every change by its address."""
    capsys.readouterr()
    code = main(["drift", base, "--json", *options])
    plan = json.loads(capsys.readouterr().out)
    return code, {change["name"]: change for change in plan["resource_changes"]}


def test_a_foreign_change_is_found_and_attributed(settled: World, sandbox: RunningSandbox, capsys):
    """No drift before; afterwards each changed field, by whom, with the same answer from inventory and folder."""
    for base in ("base.json", "folder"):
        code, changes = plan_of(capsys, base)
        assert (code, {tuple(one["change"]["actions"]) for one in changes.values()}) == (0, {("no-op",)}), [
            one["fields"] for one in changes.values()
        ]
    change_everything(sandbox, settled.name)
    code, changes = plan_of(capsys, "base.json")
    endpoint, blue = changes[settled.name], changes[f"{settled.name}/blue"]
    assert code == 3
    assert {field["path"] for field in endpoint["fields"]} == SEEN
    assert {field["path"] for field in blue["fields"]} == CHANGED
    assert endpoint["change"]["actions"] == blue["change"]["actions"] == ["update"]
    assert endpoint["change"]["before"]["properties"]["description"] == "theirs"
    assert "description" not in endpoint["change"]["after"]["properties"]
    newest = [one["changed_by"][0]["caller"] for one in (endpoint, blue)]  # older: what made the world
    assert newest == ["urbancart-script"] * 2
    code, by_folder = plan_of(capsys, "folder")
    assert code == 3
    assert {field["path"] for field in by_folder[settled.name]["fields"]} == SEEN
    assert {field["path"] for field in by_folder[f"{settled.name}/blue"]["fields"]} == CHANGED
    assert main(["drift", "folder", "--fix"]) == 3
    printed = capsys.readouterr().out
    assert f"~ azureml_online_endpoint.{settled.name} differs" in printed
    assert f"fix: opslib run canary -p endpoint={settled.name} -p canary=blue-2" in printed
    assert "changed by urbancart-script" in printed


def test_no_deletion_is_proposed_of_what_a_broken_definition_may_define(settled: World, tmp_path, capsys):
    """The live deployment is compared with nothing, and the exit code names the part that was not compared."""
    (tmp_path / "folder/blue.yml").write_text("name: blue\nmodel: {{MODEL}}\n")
    assert main(["drift", "folder", "--fix"]) == 4
    printed = capsys.readouterr().out
    assert "delete" not in printed
    assert "could not be compared: definition folder/blue.yml" in printed
    (tmp_path / "folder/endpoint.yml").write_text("name: {{NAME}}\n")
    assert main(["drift", "folder", "--fix"]) == 2
    assert "no endpoint.yml in folder can be compared with" in capsys.readouterr().err


def change_everything(sandbox: RunningSandbox, name: str) -> None:
    """Change the endpoint and its deployment as a program of somebody else would."""
    endpoint = sandbox.endpoint_id(name)
    with foreign(sandbox) as client:
        body = client.get(endpoint).json()
        body["properties"] |= {"description": "theirs", "publicNetworkAccess": "Disabled"}
        put(client, endpoint, body | {"tags": {**body["tags"], "cost-center": "42"}})
        path = f"{endpoint}/deployments/blue"
        body = client.get(path).json()
        properties = body["properties"]
        properties |= {"description": "theirs", "appInsightsEnabled": True}
        properties["environmentVariables"] |= {"MODE": "slow"}
        properties["requestSettings"] |= {"requestTimeout": "PT7S"}
        properties["livenessProbe"] |= {"period": "PT11S"}
        put(client, path, body | {"tags": {"stage": "theirs"}})
