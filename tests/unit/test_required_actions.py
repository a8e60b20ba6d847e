"""Required actions, what roles grant, and the smallest fix: all of it without Azure."""

import pytest
from worlds import deployment, endpoint

from opslib.access.actions import (
    BLOBS,
    DEPLOYMENTS,
    ENDPOINTS,
    READ_STATE,
    WORKSPACES,
    Action,
    Purpose,
    ScopeLevel,
    Upload,
    count_requests,
    find_uploads,
    score,
    upload,
)
from opslib.access.grants import Permission, is_allowed
from opslib.access.required import find_missing, plan_purposes, require, smallest_fix, smallest_role
from opslib.azure.permissions import resolved_scopes
from opslib.definitions.deployment import read_deployment
from opslib.model import Level, Scope
from opslib.runbooks.steps import access_preflight
from opslib.runbooks.steps import plan as planning
from opslib.runbooks.steps.step_text import describe_step

SUBSCRIPTION = "/subscriptions/s"
ENDPOINT = f"{Scope('s', 'g', 'w', '').workspace_id}/onlineEndpoints/e"
SCOPES = resolved_scopes(ENDPOINT)


def names(purposes):
    return [action.name for purpose in purposes for action in purpose.actions]


@pytest.mark.parametrize(
    ("permissions", "allowed"),
    [
        ([Permission(("*",))], True),
        ([Permission((f"{WORKSPACES}/*/write",))], True),
        ([Permission((f"{WORKSPACES}/*/WRITE",), ("*/read",))], True),
        ([Permission((f"{ENDPOINTS}/read",))], False),
        ([Permission(("*",), (f"{WORKSPACES}/onlineEndpoints/*",))], False),
        ([Permission(("*",), ("*/write",)), Permission((f"{ENDPOINTS}/write",))], True),
        ([Permission(data_actions=("*",))], False),
        ([], False),
    ],
)
def test_exclusions_hold_within_their_own_block(permissions, allowed):
    """Wildcards span slashes, case does not matter, and one assignment's notActions limit no other assignment."""
    assert is_allowed(f"{ENDPOINTS}/write", permissions) is allowed


def test_actions_of_the_undo_are_required_too():
    """A deployment is deleted only by the undo; the message names it."""
    before = endpoint({"blue": 100}, deployment("blue"))
    plan = planning.plan_stages(before, "green", [10, 50, 100], 600)
    required = require((READ_STATE, *plan_purposes(plan, "Key", describe_step)))
    write = next(one for one in required if one.action.name == f"{ENDPOINTS}/write")
    assert [words.split(":")[0] for words in write.needed_for] == ["step 1", "step 2", "step 3", "undo"]
    missing = find_missing(required, SCOPES, {ENDPOINT: [Permission(("*/read",))]})
    assert [one.required for one in missing] == [write]
    assert missing[0].sentence.endswith("; and 2 more")
    assert ENDPOINT in missing[0].sentence


LOCAL = "code_configuration: {code: c, scoring_script: s.py}\nmodel: {path: m}\nenvironment: {image: 'x:1'}\n"
REGISTERED = (
    "code_configuration: {code: 'azureml:c:1', scoring_script: s.py}\n"
    "model: azureml:m:1\nenvironment: azureml:e:1\n"
)
BUILT = "model: azureml://registries/r/models/m/versions/1\nenvironment: {build: {path: docker}}\n"


@pytest.mark.parametrize(
    ("content", "uploads"),
    [
        (LOCAL, (Upload.CODE, Upload.MODEL, Upload.ENVIRONMENT)),
        (REGISTERED, ()),
        (BUILT, (Upload.BUILD_CONTEXT,)),
    ],
)
def test_only_what_is_local_is_registered(content, uploads, tmp_path):
    """Registered assets need no upload, and no action for one."""
    path = tmp_path / "d.yml"
    path.write_text(f"name: green\ninstance_type: Standard_DS3_v2\n{content}")
    assert find_uploads(read_deployment(path, "fraud")) == uploads


def test_without_a_credential_of_the_datastore_the_caller_writes_blobs():
    """The data actions are required on the storage account, and only where files pass through the datastore."""
    (_, blobs) = upload([Upload.MODEL], by_identity=True)
    assert blobs.actions == tuple(Action(f"{BLOBS}/{v}", ScopeLevel.STORAGE, data=True) for v in ("read", "write"))
    assert len(upload([Upload.CODE, Upload.ENVIRONMENT], by_identity=True)) == 2
    required = require([blobs])
    scopes = SCOPES | {ScopeLevel.STORAGE: "/sa"}
    reads = Permission(actions=("*",), data_actions=(f"{BLOBS}/read",))
    (write,) = find_missing(required, scopes, {"/sa": [reads]})
    assert write.sentence.startswith(f"data action {BLOBS}/write on /sa")


def test_the_source_decides_what_is_read():
    """Metrics that were chosen need no diagnostic setting; an unknown source needs it alone."""
    assert names(count_requests("metrics", "metrics")) == ["Microsoft.Insights/metrics/read"]
    assert names(count_requests("", "auto")) == ["Microsoft.Insights/diagnosticSettings/read"]
    assert "AmlOnlineEndpointTrafficLog" in names(count_requests("request log", "auto"))[-1]


@pytest.mark.parametrize(("mode", "verb"), [("Key", "listKeys"), ("AMLToken", "token"), ("AADToken", "score")])
def test_the_authentication_mode_decides_what_a_request_needs(mode, verb):
    """Keys, a token, or the permission to score."""
    assert names([score(mode)]) == [f"{ENDPOINTS}/{verb}/action"]


@pytest.mark.parametrize(
    ("actions", "role"),
    [
        ([Action(f"{ENDPOINTS}/read"), Action("Microsoft.Insights/metrics/read")], "Reader"),
        ([Action(f"{DEPLOYMENTS}/delete")], "AzureML Data Scientist"),
        ([Action(f"{BLOBS}/write", data=True)], "Storage Blob Data Contributor"),
        ([Action(f"{DEPLOYMENTS}/write"), Action("Microsoft.Insights/metrics/read")], "Contributor"),
    ],
)
def test_the_smallest_role_that_grants_all(actions, role):
    """Reads need a reader; a change of an endpoint needs a data scientist, not an owner."""
    assert smallest_role(actions) == role


def test_the_fix_is_a_command_for_each_scope():
    """The principal, the role and the resolved scope are in it."""
    needed = Purpose("undo", (Action(f"{DEPLOYMENTS}/delete"), Action("M/usages/read", ScopeLevel.SUBSCRIPTION)))
    missing = find_missing(require([needed]), SCOPES, {ENDPOINT: [], SUBSCRIPTION: []})
    fix = smallest_fix(missing, "ann@example.org")
    assert f"--assignee ann@example.org --role 'AzureML Data Scientist' --scope {ENDPOINT}" in fix
    assert f"--role Reader --scope {SUBSCRIPTION}" in fix


@pytest.mark.parametrize(
    ("group", "state", "level"),
    [
        ("g", "Enabled", Level.OK),
        ("G", "", Level.OK),
        ("other", "Enabled", Level.BLOCKER),
        ("g", "Disabled", Level.BLOCKER),
    ],
)
def test_the_scope_is_the_one_that_azure_returned(group, state, level):
    """Another resource group's endpoint and a disabled subscription block; another spelling is mentioned."""
    found = endpoint()
    found.arm["id"], found.arm["location"] = (
        ENDPOINT.replace("onlineEndpoints/e", "onlineEndpoints/fraud"),
        "eastus",
    )
    finding = access_preflight.check_scope(Scope("s", group, "w", ""), found, "Claims", state)
    assert finding.level is level
    assert ("given as" in finding.evidence) == (group == "G")
