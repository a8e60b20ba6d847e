"""One served request as a row of telemetry: the source of the request log and of the request metrics."""

import time
from dataclasses import dataclass

from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.core.clock import now_us
from opslib.sandbox.scoring.responses import ScoringResponse, client_id

_USER_AGENT = 70  # characters that AmlOnlineEndpointTrafficLog keeps


@dataclass(frozen=True)
class ServedRequest:
    """A scoring request and its response.

    Attributes
    ----------
    started_s
        When it came [s, of `time.perf_counter`].
    deployment
        The deployment that answered; empty when none did.
    identity
        The principal of the token.
    delays_ms
        For how long its bytes, and those of its answer, waited for bandwidth [ms].
    """

    request: Request
    scored: ScoringResponse
    started_s: float
    deployment: str = ""
    identity: str = ""
    delays_ms: tuple[float, float] = (0.0, 0.0)

    def row(self, endpoint: Resource, *, logged: bool) -> tuple[object, ...]:
        """Return the row, in the order of the table's columns."""
        request, scored = self.request, self.scored
        return (
            now_us(),
            endpoint.key,
            self.deployment.lower(),
            int(logged),
            scored.status,
            scored.reason,
            scored.model_status,
            scored.model_reason,
            request.method,
            request.path,
            "HTTP/1.1",
            len(request.body),
            len(scored.body),
            request.headers.get("user-agent", "")[:_USER_AGENT],
            request.request_id,
            client_id(request),
            (time.perf_counter() - self.started_s) * 1000,
            0.0,
            0.0,
            endpoint.properties["authMode"],
            self.identity,
            *self.delays_ms,
        )
