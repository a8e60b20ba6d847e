"""Programs that have Azure's own host names written down, and storage accounts under such names."""

import argparse
import base64
import hashlib
import hmac
import json
import os
import socket
import ssl
import subprocess
import sys
import uuid
from collections.abc import Iterator
from email.utils import formatdate

import httpx
import pytest
from awaiting import wait_until
from cryptography import x509
from sandbox_fixture import RunningSandbox

from opslib.sandbox.cli.commands import describe

ARM = "https://management.azure.com"
BLOBS = "https://pictures.blob.core.windows.net"
READER = "2a2b9908-6ea1-4ae2-8e65-a410df84e7d1"


@pytest.fixture(scope="module")
def named(sandbox: RunningSandbox) -> Iterator[httpx.Client]:
    """A client that knows nothing of the sandbox but the variables that are printed with `--azure-names`."""
    variables = sandbox.note["azure_environment"]
    trust = ssl.create_default_context(cafile=variables["SSL_CERT_FILE"])
    with httpx.Client(proxy=variables["HTTPS_PROXY"], verify=trust, timeout=30, trust_env=False) as client:
        yield client


@pytest.fixture(scope="module")
def account(arm: httpx.Client, sandbox: RunningSandbox) -> str:
    """The id of an account of one's own, with a container."""
    group = sandbox.workspace_id.split("/providers/", maxsplit=1)[0]
    made = f"{group}/providers/Microsoft.Storage/storageAccounts/pictures"
    arm.put(
        made, json={"location": "eastus", "sku": {"name": "Standard_LRS"}, "kind": "Storage"}
    ).raise_for_status()
    arm.put(f"{made}/blobServices/default/containers/cats", json={}).raise_for_status()
    return made


def bearer(sandbox: RunningSandbox, resource: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {sandbox.token(resource)}", "x-ms-version": "2024-05-04"}


def signed(method: str, path: str, content: bytes, key: str) -> dict[str, str]:
    """Sign a blob request with an account's key, after Microsoft's description of Shared Key."""
    own = {"x-ms-blob-type": "BlockBlob", "x-ms-date": formatdate(usegmt=True), "x-ms-version": "2024-05-04"}
    length = str(len(content)) if content else ""
    lines = [method, "", "", length, *[""] * 8, *(f"{name}:{value}" for name, value in own.items())]
    message = "\n".join([*lines, f"/pictures{path}"])
    digest = hmac.new(base64.b64decode(key), message.encode(), hashlib.sha256).digest()
    return own | {"Authorization": f"SharedKey pictures:{base64.b64encode(digest).decode()}"}


def test_azures_own_name_is_served(named: httpx.Client, sandbox: RunningSandbox):
    """ARM under its own name is the sandbox, and long operations are polled there too."""
    headers = {"Authorization": f"Bearer {sandbox.token(ARM)}"}
    listed = named.get(f"{ARM}/subscriptions?api-version=2022-12-01", headers=headers).json()["value"]
    assert [one["subscriptionId"] for one in listed] == [sandbox.workspace["subscription_id"]]
    put = named.put(
        f"{ARM}{sandbox.endpoint_id('under-its-name')}?api-version=2024-10-01",
        headers=headers,
        json={"location": "eastus", "properties": {"authMode": "Key"}},
    )
    where = put.headers["Azure-AsyncOperation"]
    assert where.startswith(f"{ARM}/subscriptions/")
    wait_until(lambda: named.get(where, headers=headers).json()["status"] == "Succeeded")
    store = named.get(f"{ARM}{sandbox.workspace_id}/datastores/workspaceblobstore", headers=headers).json()
    assert (store["properties"]["accountName"], store["properties"]["endpoint"]) == ("sandbox", "core.windows.net")


def test_the_variables_are_printed(sandbox: RunningSandbox, capsys: pytest.CaptureFixture[str]):
    """`sandbox env --azure-names` prints what a shell needs, and no variable that names the sandbox's own cloud."""
    parser = argparse.ArgumentParser()
    describe(parser)
    arguments = parser.parse_args(["env", "--azure-names", "--home", str(sandbox.home.root)])
    assert arguments.run(arguments) == 0
    printed = dict(line.removeprefix("export ").split("=", 1) for line in capsys.readouterr().out.splitlines())
    assert printed["HTTPS_PROXY"].startswith("http://127.0.0.1:")
    assert printed["CURL_CA_BUNDLE"] == str(sandbox.home.azure_authority)
    assert not printed.keys() & {"ARM_CLOUD_METADATA_URL", "AZUREML_CURRENT_CLOUD"}


def test_what_is_served_is_printed_for_programs(sandbox: RunningSandbox, capsys: pytest.CaptureFixture[str]):
    """`sandbox status --json`: address, settings, endpoints and faults."""
    with sandbox.arm() as arm:
        body = {"location": "eastus", "properties": {"authMode": "Key"}}
        arm.put(sandbox.endpoint_id("printed"), json=body).raise_for_status()
    parser = argparse.ArgumentParser()
    describe(parser)
    arguments = parser.parse_args(["status", "--json", "--home", str(sandbox.home.root)])
    assert arguments.run(arguments) == 0
    printed = json.loads(capsys.readouterr().out)
    assert printed["url"] == sandbox.url
    assert printed["settings"]["seed"] == 7
    assert printed["faults"] == []
    (endpoint,) = [one for one in printed["resources"] if one["name"] == "printed"]
    assert (endpoint["kind"], endpoint["details"]) == ("endpoint", "traffic none")


def test_other_hosts_are_refused_by_name(sandbox: RunningSandbox):
    """What the sandbox does not stand for is answered 501 and named; nothing is connected to it."""
    host, port = sandbox.note["azure_environment"]["HTTPS_PROXY"].removeprefix("http://").split(":")
    for asked, status, words in (
        ("secrets.vault.azure.net:443", b"501", b"does not implement secrets.vault.azure.net"),
        ("example.com:443", b"501", b"does not implement example.com"),
        ("management.azure.com:22", b"400", b"Only CONNECT to port 443"),
        ("management.azure.com.example.com:443", b"501", b"does not implement"),
    ):
        with socket.create_connection((host, int(port)), timeout=10) as client, client.makefile("rb") as answers:
            client.sendall(f"CONNECT {asked} HTTP/1.1\r\nHost: {asked}\r\n\r\n".encode())
            answer = answers.read()
        assert answer.split()[1] == status
        assert words in answer
    with socket.create_connection((host, int(port)), timeout=10) as client, client.makefile("rb") as answers:
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert answers.read().startswith(b"HTTP/1.1 400")


def test_each_authority_signs_its_own_names_only(sandbox: RunningSandbox):
    """Who trusts the sandbox's loopback authority does not thereby trust anything under Azure's names."""

    def permitted(certificate: x509.Certificate) -> set[str]:
        names = certificate.extensions.get_extension_for_class(x509.NameConstraints).value.permitted_subtrees
        return {str(name.value) for name in names or ()}

    loopback = permitted(x509.load_pem_x509_certificate(sandbox.home.authority.read_bytes()))
    both = x509.load_pem_x509_certificates(sandbox.home.azure_authority.read_bytes())
    assert loopback == {"127.0.0.1/32", "localhost"}
    assert [permitted(one) for one in both] == [
        loopback,
        {
            "management.azure.com",
            "login.microsoftonline.com",
            "api.loganalytics.io",
            "prices.azure.com",
            "blob.core.windows.net",
        },
    ]


def test_azure_identity_signs_in_where_it_always_does(sandbox: RunningSandbox, arm: httpx.Client):
    """A client secret is good at login.microsoftonline.com, with the tenant's own id and no other variable."""
    row = arm.post(
        "/sandbox/principals", json={"name": f"named-{uuid.uuid4().hex[:6]}"}, headers=own(sandbox)
    ).json()["value"][0]
    program = (
        "import sys; from azure.identity import ClientSecretCredential as C;"
        "print(C(*sys.argv[1:]).get_token('https://management.azure.com/.default').token.count('.'))"
    )
    given = (row["tenant_id"], row["client_id"], row["client_secret"])
    kept = {name: os.environ[name] for name in ("PATH", "HOME", "PYTHONPATH") if name in os.environ}
    environment = kept | sandbox.note["azure_environment"]
    said = subprocess.run(
        [sys.executable, "-c", program, *given], env=environment, capture_output=True, text=True, check=False
    )
    assert said.stdout.strip() == "2", said.stderr


def own(sandbox: RunningSandbox) -> dict[str, str]:
    return {"X-IDENTITY-HEADER": sandbox.note["environment"]["IDENTITY_HEADER"]}


def test_an_accounts_key_opens_its_containers(named: httpx.Client, arm: httpx.Client, account: str):
    """A blob is written and read with either key's signature and no other; a missing container is reported."""
    first, second = (one["value"] for one in arm.post(f"{account}/listKeys").json()["keys"])
    put = named.put(f"{BLOBS}/cats/1.txt", content=b"tabby", headers=signed("PUT", "/cats/1.txt", b"tabby", first))
    assert put.status_code == 201
    got = named.get(f"{BLOBS}/cats/1.txt", headers=signed("GET", "/cats/1.txt", b"", second))
    assert (got.status_code, got.content) == (200, b"tabby")
    other = base64.b64encode(b"not the key").decode()
    refused = named.get(f"{BLOBS}/cats/1.txt", headers=signed("GET", "/cats/1.txt", b"", other))
    assert (refused.status_code, refused.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")
    nowhere = named.get(f"{BLOBS}/dogs/1.txt", headers=signed("GET", "/dogs/1.txt", b"", first))
    assert (nowhere.status_code, nowhere.headers["x-ms-error-code"]) == (404, "ContainerNotFound")


def test_reading_blobs_needs_a_role_on_data(
    named: httpx.Client, arm: httpx.Client, account: str, sandbox: RunningSandbox
):
    """Owner does not read blobs by token, as on Azure; Storage Blob Data Reader does, and does not write."""
    key = arm.post(f"{account}/listKeys").json()["keys"][0]["value"]
    named.put(f"{BLOBS}/cats/2.txt", content=b"calico", headers=signed("PUT", "/cats/2.txt", b"calico", key))
    headers = bearer(sandbox, "https://storage.azure.com/")
    assert named.get(f"{BLOBS}/cats/2.txt", headers=headers).status_code == 403
    grant = f"{account}/providers/Microsoft.Authorization/roleAssignments/{uuid.uuid4()}"
    operator = "0b5e0000-0000-4000-8000-0000000000a1"
    body = {"roleDefinitionId": f"/providers/Microsoft.Authorization/roleDefinitions/{READER}"}
    arm.put(grant, json={"properties": {**body, "principalId": operator}}).raise_for_status()
    assert named.get(f"{BLOBS}/cats/2.txt", headers=headers).content == b"calico"
    wrong = named.put(f"{BLOBS}/cats/2.txt", content=b"x", headers=headers | {"x-ms-blob-type": "BlockBlob"})
    assert (wrong.status_code, wrong.headers["x-ms-error-code"]) == (403, "AuthorizationPermissionMismatch")
    arm.delete(grant).raise_for_status()
    for_arm = named.get(f"{BLOBS}/cats/2.txt", headers=bearer(sandbox, ARM))
    assert (for_arm.status_code, for_arm.headers["x-ms-error-code"]) == (403, "AuthenticationFailed")


@pytest.mark.parametrize(
    ("name", "code"), [("Pictures!", "AccountNameInvalid"), ("sandbox", "StorageAccountAlreadyTaken")]
)
def test_account_names_are_azures(arm: httpx.Client, account: str, name: str, code: str):
    """3 to 24 lower-case letters and digits, unique in all of Azure."""
    answer = arm.put(f"{account.rsplit('/', 1)[0]}/{name}", json={"location": "eastus"})
    assert answer.json()["error"]["code"] == code


def test_an_account_goes_with_what_is_in_it(named: httpx.Client, arm: httpx.Client, account: str):
    """Deleted and made again it has new keys and no container."""
    gone = account.replace("pictures", "shortlived")
    arm.put(gone, json={"location": "eastus"}).raise_for_status()
    arm.put(f"{gone}/blobServices/default/containers/cats", json={}).raise_for_status()
    keys = arm.post(f"{gone}/listKeys").json()["keys"]
    assert arm.delete(gone).status_code == 200
    assert arm.get(gone).status_code == 404
    arm.put(gone, json={"location": "eastus"}).raise_for_status()
    assert arm.post(f"{gone}/listKeys").json()["keys"] != keys
    assert arm.get(f"{gone}/blobServices/default/containers/cats").status_code == 404
    listed = arm.get(account.rsplit("/", 1)[0]).json()["value"]
    assert {"sandbox", "pictures", "shortlived"} <= {one["name"] for one in listed}
