"""How the sandbox's commands call its own API."""

import json
import ssl
import urllib.error
import urllib.request
from typing import Any

from .home import Home

_TIMEOUT_S = 10.0


def call(home: Home, method: str, path: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Call a running sandbox's own API; return the rows of its answer.

    Raises
    ------
    ValueError
        With the sandbox's words, if it refuses.
    """
    note = home.read_note() or {}
    request = urllib.request.Request(  # noqa: S310 - the note's own https address
        f"{note['url']}/sandbox/{path}",
        method=method,
        data=None if body is None else json.dumps(body).encode(),
        headers={"X-IDENTITY-HEADER": home.identity_header(), "Content-Type": "application/json"},
    )
    trust = ssl.create_default_context(cafile=home.authority)
    try:
        with urllib.request.urlopen(request, timeout=_TIMEOUT_S, context=trust) as answer:  # noqa: S310
            rows: list[dict[str, Any]] = json.load(answer)["value"]
            return rows
    except urllib.error.HTTPError as error:
        with error:
            message = json.load(error)["error"]["message"]
        raise ValueError(message) from error
