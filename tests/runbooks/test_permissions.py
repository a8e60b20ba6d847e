"""Permissions of exactly one plan: a caller that lacks any one action is refused, no other action is needed."""

import json
import re
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from azure.identity import ManagedIdentityCredential
from runbook_world import World
from sandbox_fixture import RunningSandbox

from opslib.access.roles import custom_role
from opslib.azure.arm import ArmClient
from opslib.azure.connect import Workspace
from opslib.azure.source import find_source
from opslib.cli.main import main
from opslib.doctor.workspace import check_permissions
from opslib.errors import AccessDenied, ApplyError, PreflightError
from opslib.model import Endpoint, Findings, Level, SetTraffic
from opslib.parameters import RUNBOOKS
from opslib.policy.values import fill_from_policy
from opslib.runbooks.autoscale import check_autoscale
from opslib.runbooks.canary.checks import check_canary
from opslib.runbooks.deploy import check_deploy, deploy, plan_deploy
from opslib.runbooks.lease.tags import Lease, acquire, release
from opslib.runbooks.new_record import new_record
from opslib.runbooks.retire_checks import check_retire
from opslib.runbooks.rollback import check_rollback
from opslib.runbooks.run import Run
from opslib.runbooks.scale import check_scale
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.plan import plan_instances
from opslib.runbooks.steps.preflight import require_clear
from opslib.runbooks.undo.undo_plan import undo_plan

ROLES = "/providers/Microsoft.Authorization"
WORKSPACES = "Microsoft.MachineLearningServices/workspaces"
ENDPOINTS = f"{WORKSPACES}/onlineEndpoints"
STATE = (f"{ENDPOINTS}/read", f"{ENDPOINTS}/deployments/read")
LOG = ("Microsoft.Insights/diagnosticSettings/read", "Microsoft.Insights/logs/AmlOnlineEndpointTrafficLog/read")
AUTOSCALE = "Microsoft.Insights/autoscaleSettings/read"
CAPACITY = (
    "Microsoft.MachineLearningServices/locations/vmSizes/read",
    "Microsoft.MachineLearningServices/locations/usages/read",
)

AGAIN = (
    "Microsoft.Insights/eventtypes/values/read",
    *(f"{WORKSPACES}/{kind}/versions/read" for kind in ("models", "environments", "codes")),
)

NEEDED: dict[str, tuple[str, ...]] = {
    "deploy": (
        *STATE,
        f"{ENDPOINTS}/deployments/write",
        f"{ENDPOINTS}/deployments/delete",
        f"{ENDPOINTS}/deployments/getLogs/action",
        f"{ENDPOINTS}/listKeys/action",
        f"{WORKSPACES}/read",
        f"{WORKSPACES}/codes/versions/read",
        f"{WORKSPACES}/codes/versions/startPendingUpload/action",
        f"{WORKSPACES}/codes/versions/write",
        f"{WORKSPACES}/models/versions/read",
        f"{WORKSPACES}/models/versions/write",
        f"{WORKSPACES}/datastores/read",
        f"{WORKSPACES}/datastores/listSecrets/action",
        f"{WORKSPACES}/environments/versions/write",
    ),
    "canary": (*STATE, *LOG, AUTOSCALE, f"{ENDPOINTS}/write", f"{ENDPOINTS}/listKeys/action"),
    "scale": (*STATE, *LOG, AUTOSCALE, f"{ENDPOINTS}/deployments/write"),
    "autoscale": (
        *STATE,
        *(f"Microsoft.Insights/autoscaleSettings/{verb}" for verb in ("read", "write", "delete")),
    ),
    "rollback": (*STATE, f"{ENDPOINTS}/write"),
    "retire": (
        *STATE,
        AUTOSCALE,
        *("Microsoft.Insights/metricAlerts/read", "Microsoft.Insights/metrics/read"),
        *(f"{ENDPOINTS}/deployments/delete", f"{ENDPOINTS}/deployments/write", f"{WORKSPACES}/read"),
    ),
}
"""What each plan needs, without what it can do without."""

OPTIONAL = {
    "deploy": CAPACITY,
    "scale": CAPACITY,
    "autoscale": CAPACITY,
    "rollback": (*LOG, AUTOSCALE),
    "retire": AGAIN,
}

CASES = [(runbook, action) for runbook, actions in NEEDED.items() for action in actions]
As = Callable[..., Workspace]


@pytest.fixture
def acting(sandbox: RunningSandbox, workspace: Workspace) -> Iterator[As]:
    """Makes a workspace whose caller has one custom role: some actions, without some others."""
    name, role = f"caller-{uuid.uuid4()}", str(uuid.uuid4())
    made: list[str] = []
    subscription = f"/subscriptions/{sandbox.workspace['subscription_id']}"
    admin = sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()})
    with admin, sandbox.arm() as arm:
        who = admin.post("/sandbox/principals", json={"name": name}).raise_for_status().json()["value"][0]

        def act(actions: tuple[str, ...] = ("*",), without: tuple[str, ...] = ()) -> Workspace:
            block = {"actions": list(actions), "notActions": list(without)}
            definition = {"roleName": f"Role {role}", "permissions": [block]}
            path = f"{subscription}{ROLES}/roleDefinitions/{role}"
            arm.put(path, json={"properties": definition}).raise_for_status()
            if not made:
                grant = {"roleDefinitionId": f"{ROLES}/roleDefinitions/{role}", "principalId": who["object_id"]}
                made.append(f"{subscription}{ROLES}/roleAssignments/{uuid.uuid4()}")
                arm.put(made[0], json={"properties": grant}).raise_for_status()
            credential = ManagedIdentityCredential(client_id=who["client_id"])
            scope = replace(workspace.scope, principal=who["object_id"])
            client = ArmClient(scope.resource_manager, credential)
            return replace(workspace, scope=scope, arm=client, credential=credential)

        yield act
        for assignment in made:
            arm.delete(assignment)
        arm.delete(f"{subscription}{ROLES}/roleDefinitions/{role}")
        admin.delete(f"/sandbox/principals/{name}")


def begin(runbook: str, world: World, workspace: Workspace) -> Run[Any]:
    """A run in this process, with what its runbook needs."""
    probes = world.folder / "requests" / "wrong.jsonl"
    probes.parent.mkdir(exist_ok=True)
    probes.write_text('{"request": {"data": [1]}, "answer": "wrong"}')
    given: dict[str, dict[str, object]] = {
        "deploy": {"definition": world.definition("green"), "probes": str(probes), "probe_requests": 1},
        "canary": {"canary": "blue", "probes": str(probes)},
        "scale": {"deployment": "blue", "instances": 2},
        "rollback": {"to": "blue"},
        "retire": {"deployment": "blue"},
        "autoscale": {"min_instances": 1},
    }
    parameters = RUNBOOKS[runbook].check({"endpoint": world.name, **given[runbook]})
    folder = world.folder / runbook
    folder.mkdir(exist_ok=True)
    return Run(fill_from_policy(parameters), workspace, folder, new_record(parameters, folder))


def check(runbook: str, world: World, workspace: Workspace) -> Findings:
    run, before = begin(runbook, world, workspace), world.read()
    if runbook == "rollback":
        return check_rollback(run, before, "blue")
    checks: dict[str, Callable[[Run[Any], Endpoint], Findings]] = {
        "deploy": check_deploy,
        "canary": check_canary,
        "scale": check_scale,
        "retire": check_retire,
        "autoscale": check_autoscale,
    }
    return checks[runbook](run, before)


def found(findings: Findings) -> Any:
    return next(one for one in findings if one.check == "permissions")


@pytest.mark.parametrize(("runbook", "action"), CASES)
def test_a_caller_that_lacks_one_action_is_refused(runbook: str, action: str, acting: As, world: World):
    """The message names the action alone, what needs it, and the scope that Azure returned; nothing is changed."""
    findings = check(runbook, world, acting(without=(action,)))
    finding = found(findings)
    assert finding.level is Level.BLOCKER
    assert re.search(rf"lacks 1 of \d+ actions: {re.escape(action)} on /subscriptions/", finding.evidence)
    assert "az role assignment create" in finding.fix
    with pytest.raises(PreflightError, match="nothing was changed"):
        require_clear(findings)


@pytest.mark.parametrize("runbook", NEEDED)
def test_exactly_these_actions_are_enough(runbook: str, acting: As, world: World):
    """A role with the needed actions alone passes; what it can do without is a warning."""
    findings = check(runbook, world, acting(NEEDED[runbook]))
    assert found(findings).level is (Level.WARNING if runbook in OPTIONAL else Level.OK), found(findings).evidence
    assert found(check(runbook, world, acting((*NEEDED[runbook], *OPTIONAL.get(runbook, ()))))).level is Level.OK


def test_the_undos_own_action_is_named_with_the_undo(acting: As, world: World):
    """Without the right to delete, a deployment that fails would stay and bill."""
    finding = found(check("deploy", world, acting(without=(f"{ENDPOINTS}/deployments/delete",))))
    assert f"/onlineEndpoints/{world.name}, needed for: undo: delete deployment green" in finding.evidence


def test_a_deployment_and_its_undo_take_no_other_action(acting: As, world: World):
    """With the least role a deployment is created, probed, its log read, and deleted again."""
    run, before = begin("deploy", world, acting((*NEEDED["deploy"], *OPTIONAL["deploy"]))), world.read()
    require_clear(check_deploy(run, before))
    with pytest.raises(ApplyError, match="was deleted again"):
        deploy(run, plan_deploy(run, before))
    assert world.read().find("green") is None


def test_traffic_lease_source_and_scale_take_no_other_action(acting: As, world: World):
    """With the least role traffic is set with a lease, requests are counted, and a scale is undone."""
    before, now = world.read(), datetime.now(UTC)
    least = acting(NEEDED["canary"])
    step = SetTraffic(world.name, before.traffic, before.traffic)
    lease = Lease("run", "ann", before.traffic, before.traffic, now + timedelta(seconds=60))
    for edit in (acquire(lease), release("run")):
        assert apply(step, least, 30.0, lambda _: None, edit).changed
    find_source(least, before).observe(now - timedelta(seconds=60), now)
    scaling = begin("scale", world, acting(NEEDED["scale"]))
    plan = plan_instances(before, "blue", 2)
    apply(plan.steps[0], scaling.workspace, 30.0, lambda _: None)
    undo_plan(plan, scaling.workspace, scaling.journal, lambda _: None, 30.0)
    assert world.read().deployments[0].instance_count == 1


def test_an_endpoint_that_cannot_be_read_is_a_refusal(acting: As, world: World, tmp_path: Path):
    """The error names action and scope, and is raised before anything was changed."""
    run = begin("rollback", world, acting(without=(f"{ENDPOINTS}/read",)))
    with pytest.raises(AccessDenied, match=f"{ENDPOINTS}/read") as raised:
        run.read_endpoint()
    assert raised.value.refused


def test_a_role_of_opslib_has_what_the_plans_need(acting: As, sandbox: RunningSandbox):
    """`opslib role` covers every plan above; with the role of one runbook, `opslib doctor` names the others."""
    for runbook, needed in NEEDED.items():
        role = custom_role("x", [runbook], [])["Actions"]
        assert {*needed, *OPTIONAL.get(runbook, ())} <= {*role}, runbook
    able = acting(tuple(custom_role("x", ["canary"], [])["Actions"]))
    found = check_permissions(able)
    assert found.seen.startswith("enough for validate, canary, size, rollback, inventory, drift; deploy lacks ")
    assert found.fix.startswith("Request the role that this prints: opslib role deploy ")


def test_the_doctor_finds_nothing_on_a_sandbox(
    sandbox_home: None, tmp_path: Path, capsys: pytest.CaptureFixture[str]
):
    """Machine, kernel, credentials, clock, workspace and permissions, as JSON with exit code 0."""
    assert main(["doctor", "--json", "--runs", str(tmp_path)]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [one["name"] for one in found["checks"] if one["name"] not in {"memory", "versions"}] == [
        *("python", "packages", "disk", "signing key", "kernel"),
        *("credentials", "clock", "workspace", "permissions"),
    ]
    assert found["ok"]
