"""The pipeline from a request to its response: dispatch, authenticate, authorize, inject faults, handle."""

import inspect
import logging
import re
import time
import uuid
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, replace
from functools import cache, lru_cache
from types import MappingProxyType
from urllib.parse import unquote

from opslib.sandbox.arm.admin_auth import check_secret
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.routing import CONTROL_PLANE, MACHINE_LEARNING, WORKSPACE, Auth, Route
from opslib.sandbox.core import ids
from opslib.sandbox.core.context import Backend
from opslib.sandbox.endpoints.workspaces import require
from opslib.sandbox.faults.model import FaultKind
from opslib.sandbox.faults.registry import ConnectionDropped
from opslib.sandbox.identity import authorization
from opslib.sandbox.identity.tokens import (
    AZURE_ARM_AUDIENCES,
    LOGS_AUDIENCES,
    SCORING_AUDIENCES,
    TokenRefused,
)
from opslib.sandbox.server.arm_headers import arm_headers
from opslib.sandbox.server.routes import ROUTES
from opslib.sandbox.storage import blobs
from opslib.sandbox.telemetry.activity import record_activity

logger = logging.getLogger("opslib.sandbox")


@dataclass(frozen=True)
class Exchange:
    """A request on its way through the pipeline."""

    request: Request
    route: Route | None = None
    response: Response | None = None

    @property
    def auth(self) -> Auth:
        """How the caller authenticates; where no route matches, as for ARM."""
        return self.route.auth if self.route is not None else Auth.ARM


_AUDIENCES = {
    Auth.ARM: AZURE_ARM_AUDIENCES,
    Auth.LOGS: LOGS_AUDIENCES,
    Auth.DISCOVERY: (*AZURE_ARM_AUDIENCES, *SCORING_AUDIENCES),
}
Stage = Callable[[Exchange, Backend], Awaitable[Exchange]]


async def dispatch(exchange: Exchange, _sandbox: Backend) -> Exchange:
    """Find the operation that method and path name."""
    found = _match(exchange.request.method, exchange.request.path)
    if found is None:
        return exchange
    route, parameters = found
    return replace(exchange, route=route, request=replace(exchange.request, parameters=parameters))


@lru_cache(maxsize=1024)  # clients poll: most requests are for a path of a moment ago
def _match(method: str, path: str) -> tuple[Route, Mapping[str, str]] | None:
    """Return the route of a path, and the values of its placeholders."""
    lower = path.lower()
    length = len(path.rstrip("/").split("/"))
    for route, literals, segments in _BY_FIRST.get((method, lower.split("/", 2)[1]), ()):
        if segments not in (length, None) or not all(literal in lower for literal in literals):
            continue
        match = _pattern(route.template).fullmatch(path)
        if match is not None:
            parameters = {name: unquote(value) for name, value in match.groupdict().items()}
            _check_segments(route, parameters)
            return route, MappingProxyType(parameters)
    return None


def _check_segments(route: Route, parameters: Mapping[str, str]) -> None:
    """Refuse an escaped `/` where one segment is meant: names become parts of ids."""
    for name, value in parameters.items():
        if "/" in value and f"{{{name}*}}" not in route.template:
            raise ArmError.bad_request(f"The {name} '{value}' is invalid: a name must not contain '/'.")


async def authenticate(exchange: Exchange, sandbox: Backend) -> Exchange:
    """Require what the route's `auth` names; the scoring gateway checks keys and tokens itself."""
    if exchange.route is None and exchange.request.path.startswith("/inference/"):  # its key is no token for ARM
        raise ArmError.not_runnable(
            "The sandbox passes on GET, POST, PUT and OPTIONS of a path below an endpoint's address; got "
            f"{exchange.request.method} {exchange.request.path}."
        )
    if exchange.auth is Auth.ADMIN:
        check_secret(exchange.request, sandbox)
    if exchange.auth is Auth.BLOB:
        return replace(exchange, response=blobs.refuse(exchange.request, sandbox))
    if exchange.auth not in CONTROL_PLANE:
        return exchange
    audiences = {sandbox.base_url, *_AUDIENCES[exchange.auth]}
    try:
        caller = sandbox.tokens.principal(exchange.request.headers.get("authorization", ""), audiences)
    except TokenRefused as refusal:
        raise ArmError.unauthorized(str(refusal), sandbox.base_url) from refusal
    return replace(exchange, request=replace(exchange.request, caller=caller))


async def authorize(exchange: Exchange, sandbox: Backend) -> Exchange:
    """Require a role that allows the operation."""
    if exchange.route is not None:
        authorization.authorize(exchange.request, exchange.route, sandbox)
    return exchange


async def inject_faults(exchange: Exchange, sandbox: Backend) -> Exchange:
    """Inject declared faults into requests to ARM, Log Analytics and blob storage."""
    if exchange.route is None or exchange.auth not in (*CONTROL_PLANE, Auth.BLOB):
        return exchange
    names = exchange.request.parameters
    target = (exchange.route.operation, names.get("endpoint", ""), names.get("deployment", ""))
    if exchange.auth is not Auth.BLOB:
        await sandbox.faults.disturb_arm(*target)
    elif broken := sandbox.faults.hit(FaultKind.BLOB_ERROR, *target):
        return replace(exchange, response=blobs.busy(broken.fault.answer_status))
    return exchange


async def handle(exchange: Exchange, sandbox: Backend) -> Exchange:
    """Call the operation's handler; an operation without one is answered 501."""
    request, route = exchange.request, exchange.route
    if exchange.response is not None:
        return exchange
    if route is None:
        if "/providers/microsoft." in request.path.lower():
            raise ArmError.not_built(f"{request.method} {request.path}")
        raise ArmError.no_route(request.method, request.path)
    if route.handler is None:
        raise ArmError.not_built(route.operation)
    if route.template.startswith(f"{WORKSPACE}/") and request.method != "DELETE":  # what is gone is deleted
        require(ids.workspace_id(request.parameters), sandbox)
    answer = route.handler(request, sandbox)
    return replace(exchange, response=await answer if inspect.isawaitable(answer) else answer)


PIPELINE: tuple[Stage, ...] = (dispatch, authenticate, authorize, inject_faults, handle)


async def answer(request: Request, sandbox: Backend) -> Response:
    """Pass a request through the pipeline; an exception becomes ARM's error."""
    exchange, started_s = Exchange(request), time.perf_counter()
    try:
        for stage in PIPELINE:
            exchange = await stage(exchange, sandbox)
        response = exchange.response or Response(204)
    except ArmError as error:
        response = _refusal(request, error, sandbox.settings.location)
    except ConnectionDropped:
        raise
    except Exception as error:  # noqa: BLE001 - it is logged, and the answer shows it
        response = failed(request, error, sandbox.settings.location)
    if (
        exchange.route is not None
        and exchange.auth is Auth.ARM
        and request.method != "GET"
        and request.path.lower().startswith("/subscriptions/")
        and exchange.request.caller
    ):
        record_activity(exchange.request, sandbox, response)
    return _with_headers(exchange, response, time.perf_counter() - started_s, sandbox.settings.location)


def failed(request: Request, error: Exception, location: str) -> Response:
    """Log an exception that a handler did not foresee, and return the response that shows it."""
    logger.error("%s %s broke", request.method, request.path, exc_info=error)
    return _refusal(request, ArmError(500, "InternalServerError", f"{type(error).__name__}: {error}"), location)


def _refusal(request: Request, error: ArmError, location: str) -> Response:
    body = error.body(operation=uuid.uuid4().hex, request_id=request.request_id, location=location)
    return Response(error.status, body, error.headers)


def _with_headers(exchange: Exchange, response: Response, took_s: float, location: str) -> Response:
    """Add the headers that ARM adds to every answer; the gateway has added its own to a scoring answer."""
    if exchange.auth is Auth.KEY_OR_TOKEN:
        return response
    own = {
        "x-ms-request-id": exchange.request.request_id,
        "x-ms-correlation-request-id": exchange.request.request_id,
    }
    of_provider = exchange.route is not None and MACHINE_LEARNING in exchange.route.template
    of_arm = exchange.auth is Auth.ARM
    if of_arm:
        request = exchange.request
        own = arm_headers(request, response, machine_learning=of_provider, took_s=took_s, location=location)
    client = exchange.request.headers.get("x-ms-client-request-id")
    if client and exchange.auth is Auth.BLOB:
        own["x-ms-client-request-id"] = client
    return replace(response, headers={**own, **response.headers})


@cache
def _pattern(template: str) -> re.Pattern[str]:
    """Compile a template (see `arm.routing`) when it is first needed: all of them take a fifth of the start."""
    out = ""
    for piece in _PIECES.split(template):
        if not piece.startswith("{"):
            out += re.escape(piece)
            continue
        name, _, words = piece.strip("{}").partition(":")
        body = ".+" if name.endswith("*") else f"(?:{words})" if words else "[^/]+"
        out += f"(?P<{name.rstrip('*')}>{body})"
    return re.compile(out + "/?", re.IGNORECASE)


def _index() -> dict[tuple[str, str], list[tuple[Route, tuple[str, ...], int | None]]]:
    """Group the routes by method and first segment, each with the texts of its paths and their number of segments.

    `{scope*}` is an ARM id, which begins with "subscriptions", of any number of segments.
    """
    index: dict[tuple[str, str], list[tuple[Route, tuple[str, ...], int | None]]] = {}
    for route in ROUTES:
        first = route.template.split("/", 2)[1]
        key = "subscriptions" if first.startswith("{") else first.lower()
        pieces = _PIECES.split(route.template.lower())
        literals = tuple(piece.rstrip("/") for piece in pieces if not piece.startswith("{"))
        segments = None if "*}" in route.template else len(route.template.rstrip("/").split("/"))
        index.setdefault((route.method, key), []).append((route, literals, segments))
    return index


_PIECES = re.compile(r"(\{[^}]+\})")
_BY_FIRST = _index()
