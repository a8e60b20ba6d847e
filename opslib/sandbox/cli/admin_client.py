"""The client of the sandbox's own API: faults and principals."""

import argparse
import json
import ssl
import sys
import urllib.error
import urllib.request
from collections.abc import Callable
from typing import Any

from opslib.sandbox.core.home import Home

_TIMEOUT_S = 10.0


def call(home: Home, method: str, path: str, body: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """Call a running sandbox's own API; return the rows of its answer.

    Raises
    ------
    ValueError
        With the sandbox's message, if it refuses.
    ConnectionError
        If no sandbox is up.
    """
    note = home.read_note()
    if note is None:
        raise ConnectionError(f"no sandbox is up in {home.root}; {home.log} has the reason if it was")
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


def run_command(
    arguments: argparse.Namespace,
    request: Callable[[Home], list[dict[str, Any]]],
    show: Callable[[Home, dict[str, Any]], None],
) -> int:
    """Call a running sandbox and show each row; return 0, 1 where none is up, 2 if it refuses."""
    home = Home.find(arguments.home)
    if home.read_note() is None:
        print(f"No sandbox is up in {home.root}. Start one: opslib sandbox up", file=sys.stderr)
        return 1
    try:
        rows = request(home)
    except (ValueError, OSError) as error:
        print(error, file=sys.stderr)
        return 2
    for row in rows:
        show(home, row)
    return 0
