"""The second witness: bodies and headers as in Azure's REST specification, sent by a bare HTTP client.

Shapes after azure-rest-api-specs, machinelearningservices stable/2024-10-01, examples/Workspace/OnlineEndpoint
and OnlineDeployment.
"""

import re
import time
import uuid
from collections.abc import Iterator
from functools import partial
from typing import Any

import httpx
import jwt
import pytest
from awaiting import wait_until
from azure.core import MatchConditions
from azure.core.exceptions import HttpResponseError, ResourceModifiedError
from azure.storage.blob import ContainerClient
from sandbox_fixture import RunningSandbox
from served import Served

from opslib.sandbox.arm.routing import Auth, Route
from opslib.sandbox.server.routes import ROUTES

OPERATION = re.compile(r".*/mfeOperationsStatus/o[ed]idp:[0-9a-f-]{36}:[0-9a-f-]{36}\?api-version=.*")


def succeeded(arm: httpx.Client, operation: str) -> bool:
    return bool(arm.get(operation).json()["status"] == "Succeeded")


def ended(arm: httpx.Client, location: str) -> httpx.Response | None:
    answer = arm.get(location)
    return answer if answer.status_code == 200 else None


def test_put_answers_with_an_async_operation(arm: httpx.Client, sandbox: RunningSandbox):
    """PUT: 201 for the new and the known, a signed Azure-AsyncOperation, its unsigned address on the resource."""
    path = sandbox.endpoint_id("raw-put") + "?api-version=2024-10-01"
    body = {
        "location": "East US",
        "kind": "string",
        "identity": {"type": "SystemAssigned"},
        "tags": {"team": "risk"},
        "properties": {"authMode": "Key", "description": "string", "properties": {"a": "b"}, "traffic": {}},
    }
    for _ in ("new", "known"):
        answer = arm.put(path, json=body)
        assert answer.status_code == 201
        assert answer.json()["properties"]["provisioningState"] == "Creating"
        where = answer.headers["Azure-AsyncOperation"]
        assert OPERATION.fullmatch(where)
        assert answer.json()["properties"]["properties"]["AzureAsyncOperationUri"] == where.split("&t=")[0]
        wait_until(partial(succeeded, arm, where))
    read = arm.get(path).json()
    assert read["location"] == "eastus"
    assert read["tags"] == {"team": "risk"}
    assert read["identity"]["principalId"]
    assert read["properties"]["properties"]["azureml.onlineendpointid"] == sandbox.endpoint_id("raw-put").lower()
    assert read["systemData"]["createdAt"] < read["systemData"]["lastModifiedAt"]


def test_patch_and_delete_answer_with_a_location(arm: httpx.Client, sandbox: RunningSandbox):
    """PATCH and DELETE: 202 without Retry-After, and a Location that is 202 until it is 200."""
    path = sandbox.endpoint_id("raw-delete")
    made = arm.put(path, json={"location": "eastus", "properties": {"authMode": "Key"}})
    wait_until(lambda: arm.get(made.headers["Azure-AsyncOperation"]).json()["status"] == "Succeeded")
    patched = arm.patch(path, json={"tags": {"a": "1"}})
    assert (patched.status_code, patched.headers.get("Retry-After")) == (202, None)
    done = wait_until(lambda: (got := arm.get(patched.headers["Location"])).status_code != 202 and got)
    assert done.json()["tags"] == {"a": "1"}
    deleted = arm.delete(path)
    assert (deleted.status_code, deleted.content) == (202, b"null")
    wait_until(lambda: arm.get(deleted.headers["Location"]).status_code == 200)
    assert arm.get(path).status_code == 404
    assert arm.delete(path).status_code == 204


def test_patch_scales_a_deployment(fraud: Served, arm: httpx.Client):
    """PATCH of sku.capacity alone scales, in state Scaling, and the result is the deployment."""
    path = f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/green"
    for count in (2, 1):
        answer = arm.patch(path, json={"sku": {"capacity": count}})
        assert answer.status_code == 202
        assert arm.get(path).json()["properties"]["provisioningState"] == "Scaling"
        done = wait_until(partial(ended, arm, answer.headers["Location"]))
        assert done.json()["sku"]["capacity"] == count


def test_defaults_are_filled_in_on_reading(fraud: Served, arm: httpx.Client):
    """A read shows the probes, request and scale settings that were not sent."""
    seen = arm.get(f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/blue").json()["properties"]
    assert seen["scaleSettings"] == {"scaleType": "Default"}
    assert seen["livenessProbe"]["failureThreshold"] == 30
    assert seen["requestSettings"]["maxConcurrentRequestsPerInstance"] == 8
    assert seen["egressPublicNetworkAccess"] == "Enabled"


def test_skus_say_how_far_it_scales(fraud: Served, arm: httpx.Client):
    """GET skus answers with Azure's shape and limit."""
    (row,) = arm.get(f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments/blue/skus").json()["value"]
    assert row["capacity"]["maximum"] == 50
    assert row["sku"]["name"] == "default"


def test_ids_match_in_any_case(fraud: Served, arm: httpx.Client):
    """ARM ids are compared without regard to case."""
    path = fraud.sandbox.endpoint_id(fraud.name)
    assert arm.get(path.upper().replace("/SUBSCRIPTIONS", "/subscriptions")).json() == arm.get(path).json()


@pytest.mark.parametrize("name", ["", "/deployments", "/deployments/absent", "/absent?a=b&%24top=1"])
def test_a_chunked_request_is_answered_as_a_plain_one(fraud: Served, arm: httpx.Client, name: str):
    """Only plain requests bypass ASGI: the same status, body and headers, in the same order."""
    path = fraud.sandbox.endpoint_id(fraud.name) + name
    plain, chunked = arm.get(path), arm.request("GET", path, content=iter([b""]))
    assert chunked.request.headers["transfer-encoding"] == "chunked"
    assert plain.status_code == chunked.status_code
    assert list(plain.headers) == list(chunked.headers)
    assert _without_ids(plain) == _without_ids(chunked)


def _without_ids(answer: httpx.Response) -> str:
    return re.sub(r"[0-9a-f]{32}|[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}|\d+-\d+-\d+T[\d:.+]+", "", answer.text)


def test_lists_come_in_pages(fraud: Served, arm: httpx.Client):
    """A list longer than a page continues behind nextLink."""
    first = arm.get(f"{fraud.sandbox.endpoint_id(fraud.name)}/deployments", params={"$top": "1"}).json()
    second = arm.get(first["nextLink"]).json()
    assert first["value"][0]["name"] != second["value"][0]["name"]


def test_without_a_valid_token_nothing_is_told(sandbox: RunningSandbox):
    """No, a forged, an expired or a misaddressed token: 401 with ARM's challenge."""
    good = sandbox.token()
    claims = jwt.decode(good, options={"verify_signature": False})
    forged = jwt.encode(claims, "guess" * 10, algorithm="HS256")
    with sandbox.http() as client:
        for token in ("", forged, good[:-4] + "AAAA", sandbox.token("https://vault.azure.net")):
            answer = client.get(sandbox.workspace_id, headers={"Authorization": f"Bearer {token}"} if token else {})
            assert answer.status_code == 401
            assert answer.headers["WWW-Authenticate"].startswith("Bearer authorization_uri=")
            assert answer.json()["error"]["code"] == "AuthenticationFailed"
        good_answer = client.get(sandbox.workspace_id, headers={"Authorization": f"Bearer {good}"})
    assert good_answer.status_code == 200
    assert claims["exp"] - time.time() == pytest.approx(3600, abs=30)


def test_managed_identity_asks_for_its_secret(sandbox: RunningSandbox):
    """The token endpoint refuses callers who do not know IDENTITY_HEADER."""
    with sandbox.http() as client:
        answer = client.get("/msi/token", params={"resource": "x"}, headers={"X-IDENTITY-HEADER": "guess"})
    assert answer.status_code == 401


def test_cloud_metadata_has_both_shapes(sandbox: RunningSandbox):
    """Old callers get a list, callers with a recent api-version Azure's single document."""
    with sandbox.http() as client:
        listed = client.get("/metadata/endpoints").json()
        single = client.get("/metadata/endpoints", params={"api-version": "2022-09-01"}).json()
    assert listed == [single]
    assert single["resourceManager"] == sandbox.url + "/"
    assert single["resourceManager"] in sandbox.note["environment"]["ARM_CLOUD_METADATA_URL"]
    assert single["authentication"]["audiences"]


def test_what_is_not_built_says_so(arm: httpx.Client, sandbox: RunningSandbox):
    """A known operation without a handler is 501 and named; an unknown provider is 404."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    answer = arm.get(f"{group}/providers/Microsoft.AlertsManagement/alertsSummary")
    assert (answer.status_code, answer.json()["error"]["code"]) == (501, "NotImplemented")
    assert "Alerts_GetSummary" in answer.json()["error"]["message"]
    assert arm.get(f"{sandbox.workspace_id}/batchEndpoints").status_code == 501
    assert arm.get(f"{group}/providers/Example.Things/one").status_code == 404


def test_permissions_and_locks_are_answered(arm: httpx.Client, fraud: Served):
    """The one built-in principal is an Owner; nothing is locked."""
    scope = f"{fraud.sandbox.endpoint_id(fraud.name)}/providers/Microsoft.Authorization"
    assert arm.get(f"{scope}/permissions").json()["value"][0]["actions"] == ["*"]
    assert arm.get(f"{scope}/locks").json() == {"value": []}


def test_blob_names_cannot_leave_the_store(arm: httpx.Client, sandbox: RunningSandbox):
    """`..` in a blob's name is refused, and the container's signature is required."""
    path = f"{sandbox.workspace_id}/codes/escape/versions/1/startPendingUpload"
    place = arm.post(path, json={}).json()["blobReferenceForConsumption"]
    base, signature = place["credential"]["sasUri"].split("?")
    with sandbox.http() as client:
        for name in ("..%2f..%2fevil", "a/..%2Fb", "%2e%2e/x"):
            assert client.put(f"{base}/{name}?{signature}", content=b"x").status_code in (400, 403, 404)
        assert client.put(f"{base}/good/file.txt?{signature}", content=b"x").status_code == 201
        assert client.put(f"{base}/good/file.txt", content=b"x").status_code == 403
        assert client.get(f"{base}/good/file.txt?{signature}").content == b"x"


@pytest.mark.parametrize("name", ["..", "a%2Fb", "..%2F..%2Fetc", ".hidden", "a" * 256, "%00"])
def test_asset_names_cannot_become_paths(arm: httpx.Client, sandbox: RunningSandbox, name: str):
    """A name that would be more than a name is refused."""
    path = f"{sandbox.workspace_id}/models/{name}/versions/1"
    assert arm.put(path, json={"properties": {"modelUri": "x"}}).status_code in (400, 404, 501)


@pytest.mark.parametrize("kind", ["codes", "models", "environments"])
@pytest.mark.parametrize("field", ["properties", "tags"])
def test_misshapen_assets_are_refused(arm: httpx.Client, sandbox: RunningSandbox, kind: str, field: str):
    """Maps that are none are a 400; one that was kept would break every later list."""
    container = f"{sandbox.workspace_id}/{kind}/misshapen"
    sent = {"codeUri": "x", "modelUri": "x", "image": "x", field: 7}
    assert arm.put(f"{container}/versions/1", json={"properties": sent}).status_code == 400
    assert arm.put(container, json={"properties": {field: 7}}).status_code == 400
    assert arm.get(f"{container}/versions?hash=0").status_code in (200, 404)


def test_a_container_of_nulls_is_listed(arm: httpx.Client, sandbox: RunningSandbox):
    """A client that sends every field, without values, makes a container that is not archived."""
    name = f"nulls{uuid.uuid4().hex}"
    path = f"{sandbox.workspace_id}/models/{name}"
    arm.put(path, json={"properties": {"isArchived": None, "tags": None}}).raise_for_status()
    assert name in [one["name"] for one in arm.get(f"{sandbox.workspace_id}/models").json()["value"]]
    assert arm.delete(path).status_code == 200


@pytest.mark.parametrize(
    "body", [{"options": []}, {"options": {"$top": "all"}}, {"options": {"$skip": "1"}}, {"subscriptions": "one"}]
)
def test_misshapen_graph_queries_are_refused(arm: httpx.Client, body: dict[str, Any]):
    """An option of another type is the caller's error."""
    path = "/providers/Microsoft.ResourceGraph/resources"
    answer = wait_until(  # 15 queries in five seconds
        lambda: (now := arm.post(path, json={"query": "Resources", **body})).status_code != 429 and now
    )
    assert answer.status_code == 400


def test_large_blobs_come_in_blocks(arm: httpx.Client, sandbox: RunningSandbox):
    """Put Block, Put Block List, ranged read and list, as azure-storage-blob uses them for large files."""
    path = f"{sandbox.workspace_id}/codes/blocks/versions/1/startPendingUpload"
    place = arm.post(path, json={}).json()["blobReferenceForConsumption"]
    base, signature = place["credential"]["sasUri"].split("?")
    with sandbox.http() as client:
        for block in ("QQ==", "Qg=="):
            client.put(f"{base}/big?comp=block&blockid={block}&{signature}", content=block.encode() * 10)
        order = "<BlockList><Latest>Qg==</Latest><Latest>QQ==</Latest></BlockList>"
        assert client.put(f"{base}/big?comp=blocklist&{signature}", content=order).status_code == 201
        part = client.get(f"{base}/big?{signature}", headers={"x-ms-range": "bytes=38-41"})
        assert (part.status_code, part.content) == (206, b"==QQ")
        assert b"<Name>big</Name>" in client.get(f"{base}?restype=container&comp=list&{signature}").content


@pytest.fixture
def blobs(arm: httpx.Client, sandbox: RunningSandbox) -> Iterator[ContainerClient]:
    """azure-storage-blob's client of a container with three blobs in two folders."""
    path = f"{sandbox.workspace_id}/codes/listed{uuid.uuid4().hex}/versions/1/startPendingUpload"
    place = arm.post(path, json={}).json()["blobReferenceForConsumption"]["credential"]["sasUri"]
    with ContainerClient.from_container_url(place, connection_verify=str(sandbox.home.authority)) as client:
        for name in ("a/1", "a/2", "b/c/3", "d"):
            client.upload_blob(name, name.encode(), metadata={"kind": name.replace("/", "")})
        yield client


def test_blobs_are_listed_in_pages_and_folders(blobs: ContainerClient):
    """Every blob is in one page, with its metadata if requested; a delimiter makes folders."""
    pages = [[one.name for one in page] for page in blobs.list_blobs(results_per_page=3).by_page()]
    assert pages == [["a/1", "a/2", "b/c/3"], ["d"]]
    assert [one.metadata for one in blobs.list_blobs("a/", include=["metadata"])] == [
        {"kind": "a1"},
        {"kind": "a2"},
    ]
    assert [one.name for one in blobs.walk_blobs()] == ["a/", "b/", "d"]
    assert [one.name for one in blobs.walk_blobs("b/")] == ["b/c/"]


def test_a_blob_is_written_only_where_it_is_unchanged(blobs: ContainerClient):
    """A writer that read an earlier version is refused, and what the other one wrote stays."""
    blob = blobs.get_blob_client("d")
    read = blob.get_blob_properties().etag
    blob.upload_blob(b"by another", overwrite=True)
    unchanged: dict[str, Any] = {"etag": read, "match_condition": MatchConditions.IfNotModified}
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        blob.upload_blob(b"mine", overwrite=True, **unchanged)
    with pytest.raises(ResourceModifiedError, match="ConditionNotMet"):
        blob.delete_blob(**unchanged)
    assert blob.download_blob().readall() == b"by another"
    with pytest.raises(HttpResponseError, match="InvalidMetadata"):
        blob.set_blob_metadata({"no-identifier": "x"})
    with pytest.raises(HttpResponseError, match="Blob_Batch"):
        blobs.delete_blobs("a/1", "a/2")
    blob.delete_blob(etag=blob.get_blob_properties().etag, match_condition=MatchConditions.IfNotModified)
    assert not blob.exists()


def test_too_large_bodies_are_refused(arm: httpx.Client, sandbox: RunningSandbox):
    """ARM's limit of 4 MB holds."""
    answer = arm.put(sandbox.endpoint_id("large"), content=b"x" * (4 * 1024 * 1024 + 1))
    assert answer.status_code == 413


JUNK = (
    b"",
    b"{}",
    b'{"properties": {}}',
    b'{"properties": {"a": [1]}, "location": 7, "tags": []}',
    b'{"query": {}}',
)
WITHOUT_401 = (Auth.OPEN, Auth.BLOB, Auth.KEY_OR_TOKEN)


@pytest.fixture(scope="module")
def clients(sandbox: RunningSandbox) -> Iterator[tuple[httpx.Client, httpx.Client]]:
    """One connection with a token of its own, one without a token, for all routes."""
    with sandbox.arm() as arm, sandbox.http() as stranger:
        yield arm, stranger


@pytest.mark.parametrize("route", ROUTES, ids=lambda route: f"{route.method} {route.operation}")
def test_junk_never_breaks_the_service(
    clients: tuple[httpx.Client, httpx.Client], sandbox: RunningSandbox, route: Route
):
    """Whatever is sent to an operation, the answer is a refusal or a result, never a 500; without a token a 401."""
    address = re.sub(r"\{kind:[^}]*\}", "models", route.template).replace("{scope*}", "subscriptions/s/x/y")
    address = address.replace("{subscription}", sandbox.workspace["subscription_id"])  # a new one would be listed
    address = re.sub(r"\{[^}]*\}", "junk", address)
    arm, stranger = clients
    for body in JUNK:
        answer = arm.request(route.method, address, content=body, params={"$filter": "(((", "$top": "-1"})
        assert answer.status_code < 500 or answer.status_code == 501
    if route.auth not in WITHOUT_401:
        assert stranger.request(route.method, address).status_code == 401


def test_a_blob_can_be_deleted(arm: httpx.Client, sandbox: RunningSandbox):
    """What was uploaded is there, then it is not; without its signature it cannot be deleted."""
    asked = arm.post(f"{sandbox.workspace_id}/codes/gone/versions/1/startPendingUpload", json={}).json()
    base, signature = asked["blobReferenceForConsumption"]["credential"]["sasUri"].split("?")
    address = f"{base}/gone.txt"
    arm.put(f"{address}?{signature}", content=b"here").raise_for_status()
    with sandbox.http() as client:
        assert client.delete(address).status_code == 403
        assert client.get(f"{address}?{signature}").content == b"here"
        assert client.delete(f"{address}?{signature}").status_code == 202
        assert client.get(f"{address}?{signature}").status_code == 404
