"""Ask a time stamp authority (RFC 3161 over HTTP, section 3.4)."""

import httpx

from opslib.azure.connect import trust
from opslib.errors import RecordError


def fetch_token(url: str, request: bytes) -> bytes:
    """Send a request; return the authority's answer.

    Raises
    ------
    RecordError
        If it does not answer with a token.
    """
    headers = {"Content-Type": "application/timestamp-query"}
    try:
        with httpx.Client(verify=trust(), timeout=10.0) as client:
            return client.post(url, content=request, headers=headers).raise_for_status().content
    except (httpx.HTTPError, OSError) as error:
        raise RecordError(f"the time stamp authority {url} gave no token: {error}") from error
