"""Addresses at which a long-running operation is polled.

Since 2024 Azure signs those in headers: `&t=&c=&s=&h=` are ticks, a certificate, a signature and a hash, 3.5 to
4.5 KB in all. The sandbox's are as long, and only their hash is checked: it finds a client that cuts an address.
"""

import base64
import hashlib

from opslib.sandbox.arm.api_versions import api_version, is_first
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.arm.records import Operation
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import TICKS_AT_EPOCH, now_us

_CERTIFICATE_BYTES, _SIGNATURE_BYTES = 2400, 256


def operation_url(
    request: Request, operation_id: str, resource_id: str, location: str, *, results: bool = False
) -> str:
    """Return where an operation can be polled, without a signature, as resources show it."""
    kind = "mfeOperationResults" if results else "mfeOperationsStatus"
    return (
        f"{request.base_url}/subscriptions/{ids.subscription(resource_id)}/providers/{ids.PROVIDER}"
        f"/locations/{location}/{kind}/{operation_id}?api-version={api_version(request)}"
    )


def header_url(request: Request, operation: Operation, location: str, *, results: bool = False) -> str:
    """Return where an operation can be polled, as headers show it: signed but for the first preview."""
    plain = operation_url(request, operation.id, operation.resource, location, results=results)
    if is_first(request):
        return plain
    ticks = str(now_us() * 10 + TICKS_AT_EPOCH)
    certificate, signature = _filler(operation.id, _CERTIFICATE_BYTES), _filler(ticks, _SIGNATURE_BYTES)
    digest = _hash(operation.id, ticks, certificate, signature)
    return f"{plain}&t={ticks}&c={certificate}&s={signature}&h={digest}"


def check_signature(request: Request) -> None:
    """Refuse an address whose signature is not whole; one without a signature is accepted.

    Raises
    ------
    ArmError
        If the hash does not fit the rest of the address.
    """
    parts = [request.query.get(name, "") for name in ("t", "c", "s")]
    if not any((*parts, request.query.get("h"))):
        return
    if request.query.get("h") != _hash(request.parameters["operation"], *parts):
        raise ArmError.bad_request(
            "The signature of the operation's address is not whole: poll the address exactly as the header "
            f"Azure-AsyncOperation or Location had it, got {len(request.query)} parameters."
        )


def _filler(seed: str, size: int) -> str:
    return _text(hashlib.shake_256(seed.encode()).digest(size))


def _hash(*parts: str) -> str:
    return _text(hashlib.sha256("&".join(parts).encode()).digest())


def _text(content: bytes) -> str:
    return base64.urlsafe_b64encode(content).decode().rstrip("=")
