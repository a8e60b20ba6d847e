"""Post a notice to a webhook, in bounded time. Its URL is a secret: with it, anyone can write to the channel."""

import ssl
from collections.abc import Callable
from dataclasses import dataclass
from time import monotonic, sleep
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import certifi

from opslib.azure.connect import tls_context
from opslib.azure.secrets import resolve
from opslib.errors import OpsError
from opslib.redaction.redact import redact, register

if TYPE_CHECKING:
    import httpx

TIMEOUT_S, CONNECT_TIMEOUT_S = 5.0, 3.0
"""Longest wait for each part of an answer, and to connect [seconds]."""

PAUSES_S = (1.0, 3.0)
"""Waits between the attempts, of which there is one more [seconds]."""

DEADLINE_S = 20.0
"""No attempt begins after this time [seconds]."""

RETRIED = frozenset({408, 425, 429, 500, 502, 503, 504})

_LOOPBACK = {"127.0.0.1", "localhost", "::1"}


@dataclass(frozen=True)
class Delivery:
    """How a notice was delivered: last HTTP status, attempts [count], and the problem, empty if there is none."""

    status: int | None
    attempts: int
    problem: str = ""

    @property
    def delivered(self) -> bool:
        """Whether the receiver accepted it."""
        return not self.problem


def post(reference: str, content_type: str, content: bytes, pause: Callable[[float], None] = sleep) -> Delivery:
    """Post to the webhook that a reference names (``env:NAME``, ``keyvault:NAME``); never raise what is expected.

    A receiver that takes no connection, does not answer in time, or answers with a server error gets it again. It
    may then get it twice: notices have ids.
    """
    try:
        url = resolve(reference)
    except OpsError as error:
        return Delivery(None, 0, str(error))
    parts = urlsplit(url)
    register(parts.path)
    if parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        return Delivery(None, 0, f"{reference} is not the https:// URL of a webhook")
    import httpx  # noqa: PLC0415 - most runs send no notice

    begun_s, attempts = monotonic(), 0
    timeouts = httpx.Timeout(TIMEOUT_S, connect=CONNECT_TIMEOUT_S)
    with httpx.Client(verify=_tls(), timeout=timeouts, follow_redirects=False) as client:
        while True:
            status, problem = _once(client, url, content_type, content)
            attempts += 1
            final = not problem or (status is not None and status not in RETRIED)
            if final or attempts > len(PAUSES_S) or monotonic() - begun_s > DEADLINE_S:
                return Delivery(status, attempts, problem)
            pause(PAUSES_S[attempts - 1])


def _once(client: "httpx.Client", url: str, content_type: str, content: bytes) -> tuple[int | None, str]:
    """Post once; return status and problem. The body of an answer is not read."""
    import httpx  # noqa: PLC0415 - as above

    try:
        with client.stream("POST", url, content=content, headers={"Content-Type": content_type}) as response:
            accepted = response.is_success
            return response.status_code, "" if accepted else f"it answered {response.status_code}"
    except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
        reason = redact(str(error)) or "no answer in time"
        return None, f"{type(error).__name__}: {reason}"


def _tls() -> ssl.SSLContext:
    """Trust public authorities too: in a sandbox, Azure's clients trust the sandbox alone."""
    context = tls_context()
    context.load_verify_locations(certifi.where())
    return context
