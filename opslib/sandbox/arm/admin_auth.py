"""Authentication of the sandbox's own API."""

import hmac

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request
from opslib.sandbox.core.context import Backend


def check_secret(request: Request, sandbox: Backend) -> None:
    """Refuse a request without the secret of the sandbox's home."""
    given = request.headers.get("x-identity-header", "")
    if not hmac.compare_digest(given.encode(), sandbox.identity_header.encode()):
        raise ArmError.unauthorized("The X-IDENTITY-HEADER is missing or wrong.", sandbox.base_url)
