"""The headers that ARM and its providers add to every answer. Source: recordings of 2022 to 2026."""

import uuid

from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.arm.principals import TENANT_ID

_LEFT = "x-ms-ratelimit-remaining-subscription"
_COUNTED = {
    "GET": ("reads", "249", "3749"),
    "HEAD": ("reads", "249", "3749"),
    "DELETE": ("deletes", "199", "2999"),
}
_WRITES = ("writes", "199", "2999")
_APPLICATION = f"appId=cid-v1:{uuid.uuid5(uuid.NAMESPACE_DNS, 'management.azure.com')}"


def arm_headers(
    request: Request, response: Response, *, machine_learning: bool, took_s: float, location: str
) -> dict[str, str]:
    """Return the ids, the requests left and, of an answer by Azure ML itself, its type and how long it took.

    The requests left are those of 2026 and never fall: only a declared fault throttles.
    """
    request_id = request.request_id if machine_learning else str(uuid.uuid4())
    own = {"x-ms-request-id": request_id, "x-ms-correlation-request-id": request.request_id}
    own |= {"Cache-Control": "no-cache", "Pragma": "no-cache", "Expires": "-1"}
    kind, left, left_in_all = _COUNTED.get(request.method, _WRITES)
    own[f"{_LEFT}-global-{kind}"] = left_in_all
    if f"{_LEFT}-resource-requests" not in response.headers:
        own[f"{_LEFT}-{kind}"] = left
    if machine_learning and response.status != 204:
        own["x-ms-response-type"] = "error" if response.status >= 400 else "standard"
        own |= {"x-request-time": f"{took_s:.3f}", "Request-Context": _APPLICATION}
        if request.caller is not None:
            who = f"tenantId={TENANT_ID},objectId={request.caller.object_id}"
            own["x-ms-operation-identifier"] = f"{who}/{location}/{uuid.uuid4()}"
    return own
