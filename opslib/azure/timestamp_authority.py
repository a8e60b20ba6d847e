"""Client of a time stamp authority (RFC 3161, section 3.4: over HTTP)."""

import httpx

from opslib.azure.connect import tls_context
from opslib.errors import RecordError


def fetch_token(url: str, request: bytes) -> bytes:
    """Send a time stamp request and return the response.

    Raises
    ------
    RecordError
        If there is no successful response.
    """
    headers = {"Content-Type": "application/timestamp-query"}
    try:
        with httpx.Client(verify=tls_context(), timeout=10.0) as client:
            return client.post(url, content=request, headers=headers).raise_for_status().content
    except (httpx.HTTPError, OSError) as error:
        raise RecordError(f"no response from the time stamp authority {url}: {error}") from error
