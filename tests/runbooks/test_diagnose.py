"""Diagnose end to end: failures made in a sandbox, read by a run, by the command, and by a reader."""

import json
from collections.abc import Iterator
from typing import Any

import httpx
import pytest
from awaiting import wait_until
from runbook_world import World, journal
from sandbox_fixture import RunningSandbox

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_endpoint
from opslib.cli.main import main
from opslib.errors import OperationFailed
from opslib.model import Outcome
from opslib.model.surroundings import Unread
from opslib.runbooks.diagnose import diagnose_facts, read_symptoms


@pytest.fixture
def admin(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """The sandbox's own API; what was declared ends with the test."""
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as client:
        yield client
        client.delete("/sandbox/faults").raise_for_status()


def diagnose(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, Any]:
    capsys.readouterr()
    code = main(["diagnose", *arguments, "--json"])
    return code, json.loads(capsys.readouterr().out)


def test_a_run_finds_why_a_deployment_failed(world: World, capsys):
    """The notebook names the line of init(), records the diagnosis, and changes nothing; the command agrees."""
    with pytest.raises(OperationFailed):
        world.create("green", BROKEN="1")
    before = world.read()
    folder, record = world.run("diagnose")
    assert record.outcome is Outcome.SUCCEEDED
    assert record.results == {"causes": 1, "unread": 0}
    assert "no such feature: haste" in record.reason
    cause = journal(folder, "diagnosed")[0]["causes"][0]
    assert (cause["id"], cause["subject"]) == ("script-init", "deployment green")
    assert world.read() == before
    code, found = diagnose(capsys, world.name, "--deployment", "green")
    assert (code, found["causes"][0]["id"]) == (3, "script-init")
    assert diagnose(capsys, world.name, "--deployment", "blue")[0] == 0
    assert main(["diagnose", world.name, "--deployment", "red"]) == 2
    assert "'red' does not exist" in capsys.readouterr().err


def test_probes_show_what_requests_meet(world: World, capsys):
    """A healthy endpoint has exit code 0 with its probes answered, 3 where an answer is another one."""
    code, found = diagnose(capsys, world.name, "--probes", world.probes("blue"))
    assert (code, found["causes"]) == (0, [])
    assert "probes: 1 of 1 answered as expected" in found["observed"]
    code, found = diagnose(capsys, world.name, "--probes", world.probes("green"))
    assert (code, found["causes"][0]["id"]) == (3, "probe-answers")


def test_an_image_and_a_model_that_cannot_be_downloaded(
    world: World, sandbox: RunningSandbox, admin: httpx.Client, workspace: Workspace
):
    """A declared image-pull is an image that is absent; without its roles the identity may not read the model."""
    admin.post("/sandbox/faults", json={"kind": "image-pull", "endpoint": world.name}).raise_for_status()
    with pytest.raises(OperationFailed, match="BadArgument"):
        world.create("green")
    admin.delete("/sandbox/faults")
    identity = world.read().arm["identity"]["principalId"]
    assignments = "/providers/Microsoft.Authorization/roleAssignments"
    scope = f"/subscriptions/{sandbox.workspace['subscription_id']}"
    with sandbox.arm() as arm:
        query = {"api-version": "2022-04-01", "$filter": f"principalId eq '{identity}'"}
        rows = arm.get(f"{scope}{assignments}", params=query).json()["value"]
        for row in rows:
            if "storageAccounts" in row["properties"]["scope"]:
                arm.delete(row["id"], params={"api-version": "2022-04-01"}).raise_for_status()
    with pytest.raises(OperationFailed, match="Unable to download user model"):
        world.create("pink")
    facts = read_symptoms(workspace, read_endpoint(workspace, world.name), 60)
    first = {name: diagnose_facts(facts, name).causes[0] for name in ("green", "pink")}
    assert first["green"].id == "image-missing"
    assert first["pink"].id == "model-access"
    assert f"--assignee {identity} --role 'Storage Blob Data Reader'" in first["pink"].command


def test_a_refused_change_is_in_the_activity_log(world: World, sandbox: RunningSandbox, workspace: Workspace):
    """A creation beyond the quota leaves its error in the activity log, from which the cause is read."""
    with sandbox.arm() as arm:
        path = f"{sandbox.endpoint_id(world.name)}/deployments/green"
        body = dict(world.read().deployments[0].arm)
        body["sku"] = {"name": "Default", "capacity": 50}
        answer = arm.put(path, json=body)
    assert answer.status_code == 400
    facts = read_symptoms(workspace, read_endpoint(workspace, world.name), 60)
    assert not isinstance(facts.attempts, Unread)
    first = diagnose_facts(facts, "green").causes[0]
    assert (first.id, first.layers[-1].code) == ("quota", "VmSize")


def test_a_container_out_of_memory_is_restarted(world: World, admin: httpx.Client, workspace: Workspace):
    """The event has the code and reason of a container that the kernel killed."""
    body = {"kind": "instance-oom", "endpoint": world.name, "count": 1}
    admin.post("/sandbox/faults", json=body).raise_for_status()

    def first() -> str:
        facts = read_symptoms(workspace, read_endpoint(workspace, world.name), 60)
        causes = diagnose_facts(facts, "blue").causes
        return causes[0].id if causes else ""

    assert wait_until(first) == "out-of-memory"
