"""Who may use the sandbox's own API, which stands beside Azure's."""

import hmac

from .arm_errors import ArmError
from .context import Sandbox
from .messages import Request


def check_secret(request: Request, sandbox: Sandbox) -> None:
    """Refuse whoever does not know the secret that stands in the sandbox's home."""
    given = request.headers.get("x-identity-header", "")
    if not hmac.compare_digest(given.encode(), sandbox.identity_header.encode()):
        raise ArmError.unauthorized("The X-IDENTITY-HEADER is missing or wrong.", sandbox.base_url)
