"""A stand-in for Azure that answers as recorded, step by step, or as no service should; for opslib's own client.

It is no sandbox: it holds one endpoint with two deployments, and changes them as slowly as a test wants. What it
answers passes through `alter`, which a test sets to make the answers hostile.
"""

import json
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import uvicorn
from awaiting import wait_until
from azure.core.credentials import AccessToken
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from opslib.azure.arm import ArmClient
from opslib.azure.connect import Workspace
from opslib.model import Scope
from opslib.sandbox.core.certificates import ensure_certificates

Json = dict[str, Any]
SUBSCRIPTION = "/subscriptions/00000000-0000-4000-8000-000000000001"
GROUP = f"{SUBSCRIPTION}/resourceGroups/production"
WORKSPACE = f"{GROUP}/providers/Microsoft.MachineLearningServices/workspaces/harborshield"
ENDPOINT = f"{WORKSPACE}/onlineEndpoints/fraud"
OPERATIONS = f"{SUBSCRIPTION}/providers/Microsoft.MachineLearningServices/locations/eastus"
YEAR_ONE = "0001-01-01T00:00:00+00:00"
NOW = "2026-03-02T08:14:05.1234567+00:00"
READ_ONLY = {"scoringUri", "swaggerUri", "provisioningState"}
SIGNATURE = f"&t=639000000000000000&c={'c' * 3200}&s={'s' * 342}&h={'h' * 43}"
FILLED = {
    "AZUREML_MODEL_DIR": "/var/azureml-app/azureml-models/fraud/3",
    "AZUREML_ENTRY_SCRIPT": "score.py",
    "AML_APP_ROOT": "/var/azureml-app/onlinescoring",
}


@dataclass
class Azure:
    """One endpoint, its deployments, and what was sent to change them.

    Attributes
    ----------
    polls
        How many polls and reads a change takes to show its end.
    alter
        Changes each JSON body before it is sent.
    alter_headers
        Changes the headers that name an operation.
    answer
        Answers a request in place of the stand-in, where it returns a response.
    writes
        Method, path and body of each change, in order.
    """

    polls: int = 2
    alter: Callable[[Any], Any] = lambda body: body
    alter_headers: Callable[[dict[str, str]], dict[str, str]] = lambda headers: headers
    answer: Callable[[Request], Response | None] = lambda _request: None
    writes: list[tuple[str, str, Json | None]] = field(default_factory=list)
    url: str = ""
    left: int = 0
    state: str = "Succeeded"
    failure: Json | None = None
    shown: Json = field(default_factory=lambda: {"blue": 100})
    wanted: Json = field(default_factory=lambda: {"blue": 100})
    tags: Json = field(default_factory=lambda: {"team": "risk"})
    capacity: dict[str, int] = field(default_factory=lambda: {"blue": 2, "green": 1})

    def endpoint(self) -> Json:
        """Return the endpoint as a read shows it."""
        return {
            "id": ENDPOINT,
            "name": "fraud",
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints",
            "properties": {
                "description": None,
                "properties": {
                    "azureml.onlineendpointid": ENDPOINT.lower(),
                    "AzureAsyncOperationUri": f"{self.url}{OPERATIONS}/mfeOperationsStatus/oeidp:1:2",
                },
                "scoringUri": "https://fraud.eastus.inference.ml.azure.com/score",
                "swaggerUri": "https://fraud.eastus.inference.ml.azure.com/swagger.json",
                "authMode": "Key",
                "provisioningState": self.state,
                "compute": None,
                "traffic": dict(self.shown),
                "mirrorTraffic": {},
                "publicNetworkAccess": "Enabled",
            },
            "systemData": {"createdAt": NOW, "createdBy": "Ann", "lastModifiedAt": NOW},
            "tags": dict(self.tags),
            "location": "eastus",
            "kind": "Managed",
            "identity": {"type": "SystemAssigned", "principalId": "p", "tenantId": "t"},
        }

    def deployment(self, name: str) -> Json:
        """Return a deployment as a read shows it."""
        return {
            "id": f"{ENDPOINT}/deployments/{name}",
            "name": name,
            "type": "Microsoft.MachineLearningServices/workspaces/onlineEndpoints/deployments",
            "properties": {
                "description": None,
                "properties": {"AzureAsyncOperationUri": f"{self.url}{OPERATIONS}/mfeOperationsStatus/odidp:1:2"},
                "codeConfiguration": {"codeId": f"{WORKSPACE}/codes/a/versions/1", "scoringScript": "score.py"},
                "environmentId": f"{WORKSPACE}/environments/e/versions/1",
                "environmentVariables": dict(FILLED),
                "scaleSettings": {"scaleType": "Default"},
                "requestSettings": {
                    "maxQueueWait": "PT0S",
                    "requestTimeout": "PT5S",
                    "maxConcurrentRequestsPerInstance": 1,
                },
                "modelMountPath": None,
                "appInsightsEnabled": False,
                "livenessProbe": None,
                "readinessProbe": None,
                "provisioningState": "Succeeded",
                "instanceType": "STANDARD_F2S_V2",
                "model": f"{WORKSPACE}/models/fraud/versions/3",
                "egressPublicNetworkAccess": "Enabled",
                "endpointComputeType": "Managed",
                "dataCollector": None,
            },
            "systemData": {"createdAt": NOW, "createdBy": "Ann", "lastModifiedAt": NOW},
            "tags": {},
            "location": "eastus",
            "kind": "Managed",
            "sku": {"name": "Default", "tier": "Standard", "capacity": self.capacity[name]},
        }

    def respond(self, request: Request, body: Json | None) -> Response:
        """Answer one request."""
        path, method = request.url.path, request.method
        if method != "GET":
            self.writes.append((method, path, body))
        if "/mfeOperation" in path:
            return self._operation(request)
        if path.endswith("/deployments"):
            return self.json(200, {"value": [self.deployment(name) for name in self.capacity]})
        name = path.rpartition("/deployments/")[2] if "/deployments/" in path else ""
        if (name and name not in self.capacity) or not path.startswith(ENDPOINT):
            return Response(status_code=204) if method == "DELETE" else self.json(404, _NOT_FOUND)
        if method == "GET":
            self._step()
            return self.json(200, self.deployment(name) if name else self.endpoint())
        return self._change(request, name, body or {})

    def _change(self, request: Request, name: str, body: Json) -> Response:
        """Begin a change; the answer shows what was recorded: of an update little but what was sent."""
        if READ_ONLY & body.get("properties", {}).keys():
            return self.json(400, {"error": {"code": "BadRequest", "message": "a read-only property was sent"}})
        self.left = self.polls
        if request.method == "DELETE":
            del self.capacity[name]
        elif name:
            self.capacity[name] = body["sku"]["capacity"]
        else:
            self.tags = self.tags | body["tags"] if request.method == "PATCH" else body["tags"]
            self.wanted = body["properties"]["traffic"] if request.method == "PUT" else self.wanted
            self.state = "Updating"
        if request.method != "PUT":
            return Response(status_code=202, headers=self._polled("odidp:3:4", results=True))
        answer = self.endpoint()
        del answer["location"], answer["identity"]
        answer |= {"systemData": {}}
        answer["properties"] |= {"provisioningState": "Creating", "scoringUri": None, "swaggerUri": None}
        own = {"Location": str(request.url)}
        return self.json(201, answer, {**self._polled("oeidp:3:4"), **own})

    def _polled(self, operation: str, *, results: bool = False) -> dict[str, str]:
        query = f"{operation}?api-version=2024-10-01{SIGNATURE}"
        status = {"Azure-AsyncOperation": f"{self.url}{OPERATIONS}/mfeOperationsStatus/{query}"}
        location = {"Location": f"{self.url}{OPERATIONS}/mfeOperationResults/{query}"} if results else {}
        return self.alter_headers({**status, **location, "x-ms-async-operation-timeout": "PT30M"})

    def _operation(self, request: Request) -> Response:
        self._step()
        done = self.left == 0
        status = "Failed" if done and self.failure else "Succeeded" if done else "Updating"
        body: Json = {"id": request.url.path, "name": "oeidp:3:4", "status": status, "startTime": NOW}
        body |= {"endTime": NOW if done else YEAR_ONE, "percentComplete": 0.0}
        return self.json(200, body | ({"error": self.failure} if status == "Failed" else {}))

    def _step(self) -> None:
        """Come one poll closer to the end of the change; traffic is the new one only then."""
        self.left = max(self.left - 1, 0)
        if self.left == 0:
            self.state, self.shown = "Failed" if self.failure else "Succeeded", self.wanted

    def json(self, status: int, body: Any, headers: dict[str, str] | None = None) -> Response:
        """Answer JSON, indented as Azure ML does, without Retry-After."""
        text = json.dumps(self.alter(body), indent=2)
        return Response(text, status, headers, "application/json; charset=utf-8")


_NOT_FOUND = {"error": {"code": "ResourceNotFound", "message": "The Resource was not found."}}


class Anyone:
    """A credential whose token the stand-in does not look at."""

    def get_token(self, *_scopes: str, **_: Any) -> AccessToken:
        return AccessToken("token", 4_000_000_000)


@dataclass
class StandIn:
    """A running server; `azure` is what it answers from now on."""

    authority: Path
    url: str = ""
    azure: Azure = field(default_factory=Azure)

    def workspace(self) -> Workspace:
        """Return a workspace as `connect` does, of this server."""
        names = (WORKSPACE.split("/")[2], "production", "harborshield")
        return Workspace(Scope(*names, self.url, "ann"), ArmClient(self.url, Anyone()), Anyone(), self.url)


@contextmanager
def running_stand_in(folder: Path) -> Iterator[StandIn]:
    """Serve on loopback over TLS, since azure-core sends no token without; its authority is `authority.pem`."""
    authority, certificate, key = (folder / name for name in ("authority.pem", "server.pem", "key.pem"))
    ensure_certificates(authority, certificate, key)
    made = StandIn(authority)

    async def serve(request: Request) -> Response:
        content = await request.body()
        own = made.azure.answer(request)
        sent = json.loads(content) if content else None
        answer = own if own is not None else made.azure.respond(request, sent)
        answer.headers["Connection"] = "close"  # nothing is left open when the server ends
        return answer

    methods = ["GET", "PUT", "PATCH", "DELETE", "POST"]
    server = uvicorn.Server(
        uvicorn.Config(
            Starlette(routes=[Route("/{path:path}", serve, methods=methods)]),
            port=0,
            loop="asyncio",
            ssl_certfile=certificate,
            ssl_keyfile=key,
            log_config=None,
            lifespan="off",
            timeout_graceful_shutdown=1,
        )
    )
    thread = threading.Thread(target=server.run, daemon=True)
    thread.start()
    try:
        wait_until(lambda: server.started)
        made.url = f"https://127.0.0.1:{server.servers[0].sockets[0].getsockname()[1]}"
        yield made
    finally:
        server.should_exit = True
        thread.join(5)
