"""The two values that pass through the sandbox: a request and its response. No HTTP library here."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

from opslib.sandbox.arm.envelope import check_envelope
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.principals import Principal

NOTHING: Mapping[str, str] = MappingProxyType({})


@dataclass(frozen=True)
class Request:
    """What a handler is given.

    Attributes
    ----------
    method, path, query, headers, body
        As sent; header names in lower case, values of repeated query names: the last one.
    raw_query
        The query as sent, without the question mark.
    parameters
        The values of the route's `{placeholders}`, unquoted.
    base_url
        Scheme and authority under which the caller knows the sandbox, no trailing slash.
    request_id
        Guid given to this request; ARM's correlation id.
    client
        `host:port` of the caller.
    caller
        The principal of the bearer token; None where the route takes none.
    """

    method: str
    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes
    base_url: str
    request_id: str
    client: str = ""
    raw_query: str = ""
    parameters: Mapping[str, str] = field(default_factory=lambda: NOTHING)
    caller: Principal | None = None

    @property
    def api_version(self) -> str:
        """Return the api-version; "" where none is sent."""
        return self.query.get("api-version", "")

    def json(self) -> dict[str, Any]:
        """Read the body as a JSON object; anything else is the caller's error.

        A line break in a string is accepted, as in Azure: Microsoft's REST tutorial sends a conda file so.
        """
        try:
            value = json.loads(self.body or b"{}", strict=False)
        except (ValueError, RecursionError) as error:
            raise ArmError.invalid_request(
                f"The request content was invalid and could not be deserialized: {error}."
            ) from error
        if not isinstance(value, dict):
            raise ArmError.invalid_request(
                "The request content was invalid: expected a JSON object, "
                f"got {type(value).__name__}. Send an object."
            )
        check_envelope(value)
        return value


@dataclass(frozen=True)
class Response:
    """What a handler returns: a dict or list is sent as JSON, bytes and files as they are."""

    status: int = 200
    body: dict[str, Any] | list[Any] | bytes | Path | None = None
    headers: Mapping[str, str] = field(default_factory=lambda: NOTHING)
