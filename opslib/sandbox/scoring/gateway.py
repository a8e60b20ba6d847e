"""The data plane: one request in, one deployment chosen, its answer back in Azure's terms.

Source of statuses and headers: MicrosoftDocs, how-to-troubleshoot-online-endpoints.md, and the public
inference sidecar's `ms-azureml-model-*` headers. `azureml-model-deployment` is documented as a request
header; that the answer carries it too is widely assumed, not documented.
"""

import asyncio
import random
import time
from bisect import bisect
from dataclasses import dataclass
from itertools import accumulate
from urllib.parse import quote

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.faults.model import FaultKind
from opslib.sandbox.faults.registry import ConnectionDropped, Faults
from opslib.sandbox.instances.fleet import Fleet
from opslib.sandbox.instances.instance import Instance
from opslib.sandbox.instances.pool import NoInstance, TooManyPending
from opslib.sandbox.instances.upstream import UpstreamLost
from opslib.sandbox.scoring.auth import ScoringAuth
from opslib.sandbox.scoring.bandwidth import Bandwidth
from opslib.sandbox.scoring.connections import Connections
from opslib.sandbox.scoring.rate_limit import RateLimit
from opslib.sandbox.scoring.request_log import ServedRequest
from opslib.sandbox.scoring.responses import (
    DEPLOYMENT,
    TEXT,
    ScoringResponse,
    broken_by_fault,
    client_id,
    model_error,
    respond,
    text,
    throttled,
)
from opslib.sandbox.telemetry.diagnostics import logged
from opslib.sandbox.telemetry.telemetry import Telemetry

_NOT_PASSED = frozenset(
    (
        "host",
        "connection",
        "content-length",
        "transfer-encoding",
        "authorization",
        "expect",
        DEPLOYMENT,
        "keep-alive",
    )
)
_NOT_RETURNED = frozenset(("connection", "content-length", "transfer-encoding", "server", "date", "keep-alive"))
_MIRRORS_AT_ONCE = 256
_UNKNOWN = ScoringResponse(404)


@dataclass(frozen=True)
class EndpointTraffic:
    """What the data plane must know of one endpoint, worked out once per change of the store."""

    endpoint: Resource
    deployments: dict[str, Resource]
    names: tuple[str, ...]
    shares: tuple[int, ...]  # of each name and those before it
    mirror: tuple[str, int] | None
    logged: bool


class Gateway:
    """Routes scoring requests, by the same store as the control plane."""

    def __init__(
        self,
        *,
        store: Store,
        fleet: Fleet,
        telemetry: Telemetry,
        auth: ScoringAuth,
        settings: Settings,
        faults: Faults,
    ) -> None:
        self._store = store
        self._fleet = fleet
        self._telemetry = telemetry
        self._auth = auth
        self._faults = faults
        self._rate = RateLimit(settings.max_requests_per_second)
        self._bandwidth = Bandwidth(settings.max_bytes_per_second)
        self.connections = Connections(settings.max_connections, settings.max_new_connections_per_second)
        self._random = random.Random(settings.seed)  # noqa: S311 - a traffic split, not a secret
        self._traffic: dict[tuple[str, str], EndpointTraffic] = {}
        self._version = -1
        self._mirrors: set[asyncio.Task[None]] = set()

    async def score(self, request: Request) -> Response:
        """Answer one request."""
        started = time.perf_counter()
        traffic = self._find(request)
        if traffic is None:
            return respond(request, ScoringResponse(404, b"Not Found", TEXT), "")
        identity = self._auth.identify(traffic.endpoint, request.headers.get("authorization", ""))
        deployment, scored = self._admit(traffic, request, authorized=identity is not None)
        delays_ms = (0.0, 0.0)
        if deployment is not None:
            self._drop(traffic.endpoint.name, deployment.name)
            if asked_s := self._bandwidth.take(traffic.endpoint.key, len(request.body)):
                await asyncio.sleep(asked_s)
            self._mirror(traffic, request)
            scored = await self._serve(deployment, request)
            if answered_s := self._bandwidth.take(traffic.endpoint.key, len(scored.body)):
                await asyncio.sleep(answered_s)
            delays_ms = (asked_s * 1000, answered_s * 1000)
            scored = throttled(scored, *delays_ms)
        name = deployment.name if deployment is not None else ""
        self._record(traffic, ServedRequest(request, scored, started, name, identity or "", delays_ms))
        return respond(request, scored, name)

    async def close(self) -> None:
        """Give up on mirrored copies that are under way."""
        for task in list(self._mirrors):
            task.cancel()
        await asyncio.gather(*self._mirrors, return_exceptions=True)

    def _find(self, request: Request) -> EndpointTraffic | None:
        if self._version != self._store.version:
            self._traffic = {
                (one.body["location"], one.name.lower()): self._traffic_of(one)
                for one in self._store.all("onlineEndpoints")
            }
            self._version = self._store.version
        return self._traffic.get((request.parameters["location"].lower(), request.parameters["endpoint"].lower()))

    def _traffic_of(self, endpoint: Resource) -> EndpointTraffic:
        deployments = {one.name.lower(): one for one in self._store.children(endpoint.id, "deployments")}
        live = {
            name.lower(): weight
            for name, weight in endpoint.properties["traffic"].items()
            if weight > 0 and name.lower() in deployments
        }
        mirrored = [
            (name.lower(), percent)
            for name, percent in endpoint.properties["mirrorTraffic"].items()
            if percent > 0 and name.lower() in deployments
        ]
        return EndpointTraffic(
            endpoint,
            deployments,
            tuple(live),
            tuple(accumulate(live.values())),
            mirrored[0] if mirrored else None,
            logged(self._store, endpoint.id, "AmlOnlineEndpointTrafficLog"),
        )

    def _admit(
        self, traffic: EndpointTraffic, request: Request, *, authorized: bool
    ) -> tuple[Resource | None, ScoringResponse]:
        """Return the deployment that a request goes to, or what it is refused with."""
        if not self.connections.admits(traffic.endpoint.key, request.client):
            return None, ScoringResponse(429, text("Connection limit is exceeded."), TEXT, "connection_limit")
        if not authorized or self._expired(traffic):
            return None, ScoringResponse(401, reason="unauthorized")
        deployment, scored = self._choose(traffic, request)
        if not self._rate.admits(traffic.endpoint.key):
            return None, ScoringResponse(429, text("Rate limit is exceeded."), TEXT, "rate_limit")
        return deployment, scored

    def _expired(self, traffic: EndpointTraffic) -> bool:
        """Return whether a fault makes the token expired; a key has no age."""
        by_key = traffic.endpoint.properties["authMode"] == "Key"
        return (
            not by_key
            and self._faults.hit(FaultKind.TOKEN_EXPIRY, "Scoring_Score", traffic.endpoint.name) is not None
        )

    def _choose(self, traffic: EndpointTraffic, request: Request) -> tuple[Resource | None, ScoringResponse]:
        forced = request.headers.get(DEPLOYMENT)
        if forced is not None:
            found = traffic.deployments.get(forced.lower())
            return found, ScoringResponse(
                404, text(f"Deployment {forced} was not found."), reason="no_such_deployment"
            )
        if not traffic.names:
            return None, ScoringResponse(404, text("No deployment has traffic."), reason="no_traffic")
        drawn = self._random.random() * traffic.shares[-1]  # as random.choices, without its checks
        name = traffic.names[bisect(traffic.shares, drawn, 0, len(traffic.names) - 1)]
        return traffic.deployments[name], _UNKNOWN

    def _mirror(self, traffic: EndpointTraffic, request: Request) -> None:
        """Send a copy to the mirror and ignore its answer; forced requests are not mirrored."""
        if traffic.mirror is None or DEPLOYMENT in request.headers:
            return
        name, percent = traffic.mirror
        if self._random.random() * 100 < percent and len(self._mirrors) < _MIRRORS_AT_ONCE:
            task = asyncio.create_task(self._serve_mirrored(traffic, traffic.deployments[name], request))
            self._mirrors.add(task)
            task.add_done_callback(self._mirrors.discard)

    async def _serve_mirrored(self, traffic: EndpointTraffic, deployment: Resource, request: Request) -> None:
        started = time.perf_counter()
        scored = await self._serve(deployment, request)
        self._bandwidth.take(traffic.endpoint.key, len(request.body) + len(scored.body))
        self._record(traffic, ServedRequest(request, scored, started, deployment.name))

    async def _serve(self, deployment: Resource, request: Request) -> ScoringResponse:
        pool = self._fleet.pool(deployment.id)
        limit_s = pool.payload.timeout_s if pool.payload is not None else 5.0
        try:
            async with asyncio.timeout(limit_s):
                instance = await pool.acquire()
                try:
                    endpoint = ids.name(ids.parent(deployment.id))
                    broken = await self._faults.disturb_model(endpoint, deployment.name)
                    return broken_by_fault(broken) if broken is not None else await self._forward(instance, request)
                finally:
                    pool.release(instance)
        except TimeoutError:
            return ScoringResponse(408, b"upstream request timeout", TEXT, "upstream_request_timeout")
        except TooManyPending:
            return ScoringResponse(
                429, b"", TEXT | model_error(None, "too_many_pending_request"), "too_many_pending_request"
            )
        except NoInstance:
            return ScoringResponse(503, b"no healthy upstream", TEXT, "no_healthy_upstream")

    def _drop(self, endpoint: str, deployment: str) -> None:
        if self._faults.hit(FaultKind.SCORING_RESET, "Scoring_Score", endpoint, deployment):
            raise ConnectionDropped

    async def _forward(self, instance: Instance, request: Request) -> ScoringResponse:
        started = time.perf_counter()
        headers = {name: value for name, value in request.headers.items() if name not in _NOT_PASSED}
        headers["x-request-id"] = request.request_id
        if not client_id(request):
            headers.pop("x-ms-client-request-id", None)
        rest = request.parameters.get("rest", "score")
        target = instance.payload.routes.scoring.path if rest == "score" else "/" + quote(rest, safe="/:")
        if request.raw_query:
            target += "?" + request.raw_query
        try:
            answer = await instance.upstream.ask(request.method, target, headers, request.body)
        except UpstreamLost:  # the process died with the request in its hands
            return ScoringResponse(
                424, b"", TEXT | model_error(503, "model_not_ready"), "model_not_ready", 503, "model_not_ready"
            )
        passed = {name: value for name, value in answer.headers.items() if name not in _NOT_RETURNED}
        passed["ms-azureml-model-time"] = f"{(time.perf_counter() - started) * 1000:.0f}"
        if answer.status != 200:
            passed |= model_error(answer.status, "model_error")
            return ScoringResponse(424, answer.body, passed, "model_error", answer.status, "model_error")
        return ScoringResponse(200, answer.body, passed, "", 200)

    def _record(self, traffic: EndpointTraffic, served: ServedRequest) -> None:
        self._telemetry.add("requests", served.row(traffic.endpoint, logged=traffic.logged))
