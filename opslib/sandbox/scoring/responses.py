"""Responses to scoring requests, with the statuses and headers of Azure's data plane."""

import re
from dataclasses import dataclass, field, replace

from opslib.sandbox.arm.http_messages import Request, Response

DEPLOYMENT = "azureml-model-deployment"
_CLIENT_ID = re.compile(r"^[A-Za-z0-9_-]{1,40}$")


@dataclass(frozen=True)
class ScoringResponse:
    """The response to one scoring request; its header names are in lower case."""

    status: int
    body: bytes = b""
    headers: dict[str, str] = field(default_factory=dict)
    reason: str = ""
    model_status: int | None = None
    model_reason: str = ""


TEXT = {"content-type": "text/plain"}


def text(message: str) -> bytes:
    """Return a message as a body."""
    return message.encode()


def model_error(status: int | None, reason: str) -> dict[str, str]:
    """Return the headers that describe a model's error."""
    headers = {"ms-azureml-model-error-reason": reason}
    return headers if status is None else {"ms-azureml-model-error-statuscode": str(status), **headers}


def broken_by_fault(status: int) -> ScoringResponse:
    """Return the response of a request whose model a declared fault makes answer a status."""
    return ScoringResponse(
        424, b"declared fault", TEXT | model_error(status, "model_error"), "model_error", status, "model_error"
    )


def throttled(scored: ScoringResponse, request_ms: float, response_ms: float) -> ScoringResponse:
    """Return a response with headers for how long its bytes waited, if they did [ms]."""
    delays = {"request": request_ms, "response": response_ms}
    said = {f"ms-azureml-bandwidth-{way}-delay-ms": f"{delay:.0f}" for way, delay in delays.items() if delay}
    return replace(scored, headers=scored.headers | said) if said else scored


def client_id(request: Request) -> str:
    """Return the caller's id for the request when it keeps Azure's rule: 40 characters, [A-Za-z0-9_-]."""
    given = request.headers.get("x-ms-client-request-id", "")
    return given if given and _CLIENT_ID.match(given) else ""


def respond(request: Request, scored: ScoringResponse, deployment: str) -> Response:
    """Return a response with the ids and the name of its deployment."""
    headers = {**scored.headers, "x-request-id": request.request_id, "server": "azureml-frontdoor"}
    if given := client_id(request):
        headers["x-ms-client-request-id"] = given
    if deployment:
        headers[DEPLOYMENT] = deployment
    return Response(scored.status, scored.body, headers)
