from __future__ import annotations

import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import httpx
import pytest
import sdk
from awaiting import wait_until
from azure.core.exceptions import ClientAuthenticationError, HttpResponseError
from azure.identity import (
    ClientSecretCredential,
    DefaultAzureCredential,
    ManagedIdentityCredential,
    WorkloadIdentityCredential,
)
from sandbox_fixture import RunningSandbox
from served import ASK, Served

from opslib.sandbox.cli.principal_command import environment

ROLES = "/providers/Microsoft.Authorization"
Person = Callable[..., dict[str, Any]]


@pytest.fixture
def person(sandbox: RunningSandbox) -> Iterator[Person]:
    """Adds principals, and removes them with the test."""
    names: list[str] = []
    with sandbox.http(headers={"X-IDENTITY-HEADER": sandbox.home.identity_header()}) as client:

        def add(role: str | None = None, **more: Any) -> dict[str, Any]:
            names.append(f"person-{uuid.uuid4()}")
            sent = {"name": names[-1], **({"role": role} if role else {}), **more}
            return client.post("/sandbox/principals", json=sent).raise_for_status().json()["value"][0]

        yield add
        for name in names:
            client.delete(f"/sandbox/principals/{name}")


def _token(sandbox: RunningSandbox, who: dict[str, Any], scope: str | None = None) -> httpx.Response:
    form = {
        "grant_type": "client_credentials",
        "client_id": who["client_id"],
        "client_secret": who["client_secret"],
        "scope": f"{scope or sandbox.url}/.default",
    }
    with sandbox.http() as client:
        return client.post(f"/{who['tenant_id']}/oauth2/v2.0/token", data=form)


@contextmanager
def _as(sandbox: RunningSandbox, who: dict[str, Any]) -> Iterator[httpx.Client]:
    token = _token(sandbox, who).raise_for_status().json()["access_token"]
    with sandbox.http(headers={"Authorization": f"Bearer {token}"}) as client:
        yield client


def test_azure_identity_takes_a_client_secret(
    person: Person, sandbox: RunningSandbox, monkeypatch: pytest.MonkeyPatch
):
    """DefaultAzureCredential finds a service principal in the environment, and a wrong secret is refused."""
    who = person("Reader")
    for name, value in environment(sandbox.home, who).items():
        monkeypatch.setenv(name, value)
    monkeypatch.delenv("IDENTITY_ENDPOINT")
    names = sandbox.workspace
    with DefaultAzureCredential() as credential:
        ml = sdk.MLClient(credential, names["subscription_id"], names["resource_group"], names["workspace_name"])
        assert isinstance(list(ml.online_endpoints.list()), list)
    wrong = ClientSecretCredential("adfs", who["client_id"], "guessed", authority=sandbox.url)
    with wrong, pytest.raises(ClientAuthenticationError, match="AADSTS7000215"):
        wrong.get_token(f"{sandbox.url}/.default")


def test_azure_identity_takes_a_workload_identity(person: Person, sandbox: RunningSandbox):
    """A federated token replaces a secret."""
    who = person("Reader")
    values = environment(sandbox.home, who)
    with WorkloadIdentityCredential(
        tenant_id=who["tenant_id"],
        client_id=who["client_id"],
        token_file_path=values["AZURE_FEDERATED_TOKEN_FILE"],
        authority=sandbox.url,
        disable_instance_discovery=True,
    ) as credential:
        assert credential.get_token(f"{sandbox.url}/.default").token


def test_a_managed_identity_is_chosen_by_client_id(person: Person, sandbox: RunningSandbox):
    """The identity endpoint issues tokens for any identity that is there, and for no other."""
    who = person()
    with ManagedIdentityCredential(client_id=who["client_id"]) as credential:
        assert credential.get_token(f"{sandbox.url}/.default").token
    with ManagedIdentityCredential(client_id=str(uuid.uuid4())) as nobody, pytest.raises(ClientAuthenticationError):
        nobody.get_token(f"{sandbox.url}/.default")


@pytest.mark.parametrize(
    ("role", "reads", "writes", "assigns", "monitors"),
    [
        ("Owner", 200, 404, 201, 200),
        ("Contributor", 200, 404, 403, 200),
        ("AzureML Data Scientist", 200, 404, 403, 403),
        ("Reader", 200, 403, 403, 200),
        (None, 403, 403, 403, 403),
    ],
)
def test_roles_decide(
    role, reads, writes, assigns, monitors, person: Person, sandbox: RunningSandbox, fraud: Served
):
    """What a role allows is done; what it does not is 403 with the action's name."""
    who, endpoint = person(role), sandbox.endpoint_id(fraud.name)
    with _as(sandbox, who) as client:
        assert client.get(endpoint).status_code == reads
        written = client.patch(sandbox.endpoint_id("nowhere"), json={"tags": {}})
        assert written.status_code == writes
        assert client.get(f"{endpoint}/providers/Microsoft.Insights/metrics").status_code == monitors
        grant = {"roleDefinitionId": "Reader", "principalId": who["object_id"]}
        path = f"{endpoint}{ROLES}/roleAssignments/{uuid.uuid4()}"
        assert client.put(path, json={"properties": grant}).status_code == assigns
    if writes == 403:
        error = written.json()["error"]
        assert error["code"] == "AuthorizationFailed"
        assert "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/write" in error["message"]
        assert who["object_id"] in error["message"]


def test_permissions_show_the_roles(person: Person, sandbox: RunningSandbox):
    """The permissions API has one entry for each role, on its scope and below, and none above."""
    who = person("AzureML Data Scientist", scope=sandbox.endpoint_id("fraud"))
    with _as(sandbox, who) as client:
        below = client.get(f"{sandbox.endpoint_id('fraud')}/deployments/blue{ROLES}/permissions").json()["value"]
        above = client.get(f"{sandbox.workspace_id}{ROLES}/permissions").json()["value"]
    assert above == []
    assert "Microsoft.MachineLearningServices/workspaces/*/write" in below[0]["actions"]
    assert "Microsoft.MachineLearningServices/workspaces/delete" in below[0]["notActions"]


def test_a_custom_role_allows_exactly_what_it_says(
    person: Person, arm: httpx.Client, sandbox: RunningSandbox, blue_only: Served
):
    """A role of one's own, assigned through ARM, lets its principal list keys and nothing else."""
    who, role = person(), str(uuid.uuid4())
    endpoint = sandbox.endpoint_id(blue_only.name)
    block = {"actions": ["Microsoft.MachineLearningServices/workspaces/onlineEndpoints/listKeys/action"]}
    definition = {
        "roleName": f"Key keeper {role}",
        "permissions": [block],
        "assignableScopes": [sandbox.workspace_id],
    }
    path = f"{sandbox.workspace_id}{ROLES}/roleDefinitions/{role}"
    assert arm.put(path, json={"properties": definition}).status_code == 201
    grant = {"roleDefinitionId": f"{ROLES}/roleDefinitions/{role}", "principalId": who["object_id"]}
    assignment = f"{endpoint}{ROLES}/roleAssignments/{uuid.uuid4()}"
    assert arm.put(assignment, json={"properties": grant}).status_code == 201
    assert (
        arm.put(f"{endpoint}{ROLES}/roleAssignments/{uuid.uuid4()}", json={"properties": grant}).status_code == 409
    )
    listed = arm.get(
        f"{endpoint}{ROLES}/roleAssignments", params={"$filter": f"principalId eq '{who['object_id']}'"}
    )
    assert [row["id"] for row in listed.json()["value"]] == [assignment]
    with _as(sandbox, who) as client:
        assert client.post(f"{endpoint}/listKeys").status_code == 200
        assert client.get(endpoint).status_code == 403
        assert arm.delete(path).status_code == 400
        assert arm.delete(assignment).status_code == 200
        assert client.post(f"{endpoint}/listKeys").status_code == 403
    assert arm.delete(path).status_code == 200


def test_an_assignment_is_sent_again_by_a_template_that_is_deployed_again(
    person: Person, arm: httpx.Client, sandbox: RunningSandbox
):
    """The same again changes nothing; another role under its name is refused. Ids are read in any case."""
    who = person()
    path = f"{sandbox.workspace_id}{ROLES}/roleAssignments/{uuid.uuid4()}"
    grant = {"roleDefinitionId": "Reader", "principalId": who["object_id"].upper()}
    first, again = (arm.put(path, json={"properties": grant}) for _ in range(2))
    assert (first.status_code, again.status_code) == (201, 200)
    assert again.json() == first.json()
    with _as(sandbox, who) as client:
        assert client.get(sandbox.workspace_id).status_code == 200
    other = arm.put(path, json={"properties": {**grant, "roleDefinitionId": "Contributor"}})
    assert other.json()["error"]["code"] == "RoleAssignmentUpdateNotPermitted"
    assert arm.delete(path).status_code == 200


def test_a_role_is_given_to_an_object_id_alone(person: Person, arm: httpx.Client, sandbox: RunningSandbox):
    """A client id, which names the application and not its principal, is refused."""
    path = f"{sandbox.workspace_id}{ROLES}/roleAssignments/{uuid.uuid4()}"
    grant = {"roleDefinitionId": "Reader", "principalId": person()["client_id"]}
    refused = arm.put(path, json={"properties": grant})
    assert (refused.status_code, refused.json()["error"]["code"]) == (400, "PrincipalNotFound")


@pytest.mark.parametrize("words", ["principalId eq '{}'", "assignedTo('{}')", "atScope() and assignedTo('{}')"])
def test_assignments_are_listed_by_principal(
    words: str, person: Person, arm: httpx.Client, sandbox: RunningSandbox
):
    """Those of one principal, and no other's."""
    who = person("Reader", scope=sandbox.workspace_id)
    for one, count in ((who["object_id"].upper(), 1), (person()["object_id"], 0)):
        rows = arm.get(
            f"{sandbox.workspace_id}{ROLES}/roleAssignments", params={"$filter": words.format(one)}
        ).json()["value"]
        assert [row["properties"]["principalId"] for row in rows] == [who["object_id"]] * count


def test_an_assignment_ends(person: Person, arm: httpx.Client, sandbox: RunningSandbox):
    """A scheduled assignment holds until its end, and not a moment longer."""
    who = person()
    end = (datetime.now(UTC) + timedelta(seconds=1.5)).isoformat()
    sent = {
        "principalId": who["object_id"],
        "roleDefinitionId": f"{ROLES}/roleDefinitions/acdd72a7-3385-48ef-bd42-f606fba81ae7",
        "requestType": "AdminAssign",
        "scheduleInfo": {"expiration": {"type": "AfterDateTime", "endDateTime": end}},
    }
    path = f"{sandbox.workspace_id}{ROLES}/roleAssignmentScheduleRequests/{uuid.uuid4()}"
    assert arm.put(path, json={"properties": sent}).status_code == 201
    with _as(sandbox, who) as client:
        assert client.get(sandbox.workspace_id).status_code == 200
        wait_until(lambda: client.get(sandbox.workspace_id).status_code == 403, 5)
        assert client.get(f"{sandbox.workspace_id}{ROLES}/permissions").json()["value"] == []


@pytest.mark.parametrize(("role", "status"), [("AzureML Data Scientist", 200), ("Reader", 401), (None, 401)])
def test_an_entra_endpoint_scores_for_roles(role, status, person: Person, entra_url: str, sandbox: RunningSandbox):
    """aad_token scoring requires onlineEndpoints/score/action, and a token of the right audience."""
    who = person(role)
    token = _token(sandbox, who, "https://ml.azure.com").json()["access_token"]
    other = _token(sandbox, who).json()["access_token"]
    with sandbox.http() as client:
        good = client.post(entra_url, json=ASK, headers={"Authorization": f"Bearer {token}"})
        assert good.status_code == status
        assert client.post(entra_url, json=ASK, headers={"Authorization": f"Bearer {other}"}).status_code == 401


@pytest.fixture(scope="module")
def entra_url(make_endpoint: Callable[..., Served]) -> str:
    return make_endpoint("entra", "blue", auth_mode="aad_token", instance_type="Standard_E2s_v3").url


def test_a_removed_principal_is_nobody(person: Person, sandbox: RunningSandbox):
    """Tokens end with the principal they were issued for."""
    who = person("Owner")
    with _as(sandbox, who) as client:
        secret = {"X-IDENTITY-HEADER": sandbox.home.identity_header()}
        assert client.delete(f"/sandbox/principals/{who['name']}", headers=secret).status_code == 200
        assert client.get(sandbox.workspace_id).status_code == 401
    assert _token(sandbox, who).status_code == 400


def test_a_user_assigned_identity_can_be_given_a_role(arm: httpx.Client, sandbox: RunningSandbox):
    """Created through ARM, it has the ids that an endpoint shows for it, and takes roles."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/uai"
    made = arm.put(path, json={"location": "eastus"}).json()
    body = {
        "location": "eastus",
        "identity": {"type": "UserAssigned", "userAssignedIdentities": {path: {}}},
        "properties": {"authMode": "Key"},
    }
    shown = arm.put(sandbox.endpoint_id("with-uai"), json=body).json()["identity"]["userAssignedIdentities"][path]
    assert shown == {key: made["properties"][key] for key in ("principalId", "clientId")}
    grant = {"roleDefinitionId": "Storage Blob Data Reader", "principalId": shown["principalId"]}
    role = f"{group}/providers/Microsoft.Storage/storageAccounts/sandbox{ROLES}/roleAssignments/{uuid.uuid4()}"
    assert arm.put(role, json={"properties": grant}).status_code == 201
    nobody = {"roleDefinitionId": "Reader", "principalId": str(uuid.uuid4())}
    refused = arm.put(f"{group}{ROLES}/roleAssignments/{uuid.uuid4()}", json={"properties": nobody})
    assert refused.json()["error"]["code"] == "PrincipalNotFound"
    assert arm.delete(path).status_code == 200


def test_a_user_assigned_identity_keeps_what_was_sent(arm: httpx.Client, sandbox: RunningSandbox):
    """Its region and tags are shown again; the same again answers 200."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    path = f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/kept-{uuid.uuid4()}"
    answers = [arm.put(path, json={"location": "West Europe", "tags": {"team": tag}}) for tag in ("a", "b")]
    assert [one.status_code for one in answers] == [201, 200]
    shown = arm.get(path).json()
    assert (shown["location"], shown["tags"]) == ("westeurope", {"team": "b"})
    assert arm.delete(path).status_code == 200


def test_the_sdk_says_what_is_missing(person: Person, sandbox: RunningSandbox, fraud: Served):
    """azure-ai-ml passes ARM's refusal on."""
    who, names = person("Reader"), sandbox.workspace
    with ManagedIdentityCredential(client_id=who["client_id"]) as credential:
        ml = sdk.MLClient(credential, names["subscription_id"], names["resource_group"], names["workspace_name"])
        with pytest.raises(HttpResponseError, match="onlineEndpoints/listKeys/action") as caught:
            ml.online_endpoints.get_keys(fraud.name)
    assert caught.value.status_code == 403


def test_an_instance_has_its_endpoints_identity(blue_only: Served, arm: httpx.Client, sandbox: RunningSandbox):
    """A scoring script gets tokens as its endpoint, and may do what the endpoint's roles allow."""
    names = ["IDENTITY_ENDPOINT", "IDENTITY_HEADER", "REQUESTS_CA_BUNDLE"]
    given = blue_only.score({"env": names}).json()
    assert given["REQUESTS_CA_BUNDLE"] == str(sandbox.home.azure_authority)
    endpoint = sandbox.endpoint_id(blue_only.name)
    own = arm.get(endpoint).json()["identity"]["principalId"]
    with sandbox.http() as client:
        asked = {"resource": sandbox.url, "api-version": "2019-08-01"}
        secret = {"X-IDENTITY-HEADER": given["IDENTITY_HEADER"]}
        token = client.get(given["IDENTITY_ENDPOINT"], params=asked, headers=secret).json()["access_token"]
        bearer = {"Authorization": f"Bearer {token}"}
        assert client.get(endpoint, headers=bearer).status_code == 403
        grant = {"roleDefinitionId": "Reader", "principalId": own}
        assignment = f"{endpoint}{ROLES}/roleAssignments/{uuid.uuid4()}"
        assert arm.put(assignment, json={"properties": grant}).status_code == 201
        assert client.get(endpoint, headers=bearer).status_code == 200
        asked["client_id"] = str(uuid.uuid4())
        assert client.get(given["IDENTITY_ENDPOINT"], params=asked, headers=secret).status_code == 400
    arm.delete(assignment).raise_for_status()


@pytest.mark.parametrize("name", ["client_id", "object_id", "mi_res_id"])
def test_an_instance_gets_the_identity_that_it_names(
    name: str, blue_only: Served, arm: httpx.Client, sandbox: RunningSandbox
):
    """Of several the named one, by any of its ids, in any case; without a name the endpoint's own."""
    given = blue_only.score({"env": ["IDENTITY_ENDPOINT", "IDENTITY_HEADER"]}).json()
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    two = [f"{group}/providers/Microsoft.ManagedIdentity/userAssignedIdentities/{one}" for one in ("one", "two")]
    endpoint = sandbox.endpoint_id(blue_only.name)
    sent = {"type": "systemAssigned, userAssigned", "userAssignedIdentities": {one: {} for one in two}}
    _patched(arm, endpoint, {"identity": sent})
    shown = arm.get(endpoint).json()["identity"]
    assert shown["type"] == "SystemAssigned,UserAssigned"
    second = shown["userAssignedIdentities"][two[1]]
    ids = {"client_id": second["clientId"], "object_id": second["principalId"], "mi_res_id": two[1]}
    asked = {"resource": sandbox.url, "api-version": "2019-08-01"}
    with sandbox.http(headers={"X-IDENTITY-HEADER": given["IDENTITY_HEADER"]}) as client:
        named = client.get(given["IDENTITY_ENDPOINT"], params={**asked, name: ids[name].upper()})
        assert named.json()["client_id"] == second["clientId"]
        unnamed = client.get(given["IDENTITY_ENDPOINT"], params=asked).json()["client_id"]
        assert unnamed not in {one["clientId"] for one in shown["userAssignedIdentities"].values()}
        assert client.get(given["IDENTITY_ENDPOINT"], params={**asked, name: "another"}).status_code == 400
    _patched(arm, endpoint, {"identity": {"type": "SystemAssigned"}})


def _patched(arm: httpx.Client, endpoint: str, change: dict[str, Any]) -> None:
    arm.patch(endpoint, json=change).raise_for_status()
    wait_until(lambda: arm.get(endpoint).json()["properties"]["provisioningState"] == "Succeeded")


def test_a_principal_is_added_on_the_command_line(sandbox: RunningSandbox):
    """`add` prints the variables of a new identity, `list` names it, `remove` ends it; a bad role is refused."""

    def opslib(*words: str) -> subprocess.CompletedProcess[str]:
        command = [
            sys.executable,
            "-m",
            "opslib",
            "sandbox",
            "principal",
            *words,
            "--home",
            str(sandbox.home.root),
        ]
        return subprocess.run(command, check=False, capture_output=True, text=True, timeout=30)

    added = opslib("add", "an intern", "--role", "Reader")
    assert {line.split("=")[0] for line in added.stdout.splitlines()} == {
        "export AZURE_AUTHORITY_HOST",
        "export AZURE_TENANT_ID",
        "export AZURE_CLIENT_ID",
        "export AZURE_CLIENT_SECRET",
        "export AZURE_FEDERATED_TOKEN_FILE",
        "export AZURE_TOKEN_CREDENTIALS",
    }
    assert any(
        line.startswith("an intern ") and line.endswith("Reader") for line in opslib("list").stdout.splitlines()
    )
    assert opslib("remove", "an intern").returncode == 0
    refused = opslib("add", "an intern", "--role", "Emperor")
    assert refused.returncode == 2
    assert "Contributor" in refused.stderr
    nowhere = opslib("add", "another", "--role", "Reader", "--scope", "subscriptions/1")
    assert (nowhere.returncode, "such as /subscriptions/ID" in nowhere.stderr) == (2, True)
    unnamed = opslib("remove")
    assert (unnamed.returncode, "NAME is missing" in unnamed.stderr) == (2, True)
