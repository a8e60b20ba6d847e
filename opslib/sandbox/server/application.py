"""The ASGI application: how HTTP comes in and goes out; for plain requests see `protocol`."""

import asyncio
import json
import re
import socket
import struct
from collections.abc import Mapping
from pathlib import Path
from urllib.parse import parse_qsl

from starlette.types import Receive, Scope, Send

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.http_messages import Request, Response
from opslib.sandbox.core import ids
from opslib.sandbox.core.azure_hosts import HOSTS, own_path
from opslib.sandbox.core.context import Backend
from opslib.sandbox.core.settings import MAX_ARM_BODY, MAX_BLOB_BODY
from opslib.sandbox.faults.registry import ConnectionDropped
from opslib.sandbox.server.pipeline import answer

_SLASHES = re.compile("/{2,}")
_BREAKS = re.compile(r"[\r\n]+")
_BODILESS = (204, 304)


class _Gone(Exception):  # noqa: N818 - the client is
    """The client went away before its request was read."""


class Application:
    """Serves one sandbox."""

    def __init__(self, sandbox: Backend) -> None:
        self.sandbox = sandbox

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] != "http":
            return
        try:
            response = await answer(await self._request(scope, receive), self.sandbox)
        except ArmError as error:
            response = Response(error.status, error.body())
        except ConnectionDropped:
            reset(receive.__self__.transport)  # type: ignore[attr-defined]  # uvicorn's: ASGI has no message for it
            while (await receive())["type"] != "http.disconnect":
                pass
            return
        except _Gone:
            return
        if isinstance(response.body, Path):
            from starlette.responses import FileResponse  # noqa: PLC0415 - slow to import, and only for blobs

            await FileResponse(response.body, response.status, dict(response.headers))(scope, receive, send)
            return
        await _send(response, scope["method"], send)

    def target(self, raw_path: bytes, headers: Mapping[str, str]) -> str:
        """Return the path of a request in the sandbox's routes."""
        return own_path(host_of(headers), _SLASHES.sub("/", raw_path.decode("ascii", errors="replace")))

    def request(
        self, method: str, path: str, query: bytes, headers: Mapping[str, str], body: bytes, client: str
    ) -> Request:
        """Return a request to a path of the sandbox's routes."""
        host = host_of(headers)
        return Request(
            method=method,
            path=path,
            query=dict(parse_qsl(query.decode("latin-1"), keep_blank_values=True)),
            headers=headers,
            body=body,
            base_url=f"https://{host}" if host in HOSTS else self.sandbox.base_url,
            request_id=ids.new_guid(),
            client=client,
            raw_query=query.decode("latin-1"),
        )

    async def _request(self, scope: Scope, receive: Receive) -> Request:
        headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        path, client = self.target(scope["raw_path"], headers), scope.get("client")
        body = await _read(receive, self._limit(path))
        address = f"{client[0]}:{client[1]}" if client else ""
        return self.request(scope["method"], path, scope["query_string"], headers, body, address)

    def _limit(self, path: str) -> int:
        if path.startswith("/blob"):
            return MAX_BLOB_BODY
        return self.sandbox.settings.max_payload_bytes if path.startswith("/inference/") else MAX_ARM_BODY


def host_of(headers: Mapping[str, str]) -> str:
    """Return the host that a request names, in lower case and without the port of https."""
    return headers.get("host", "").lower().removesuffix(":443")


async def _read(receive: Receive, limit_bytes: int) -> bytes:
    chunks, size, more = [], 0, True
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            raise _Gone
        chunk = message.get("body", b"")
        size += len(chunk)
        if size > limit_bytes:
            raise ArmError.too_large(limit_bytes)
        chunks.append(chunk)
        more = message.get("more_body", False)
    return b"".join(chunks)


async def _send(response: Response, method: str, send: Send) -> None:
    headers, content = render(response)
    raw = [
        (name.encode("latin-1", "replace"), value.encode("latin-1", "replace")) for name, value in headers.items()
    ]
    await send({"type": "http.response.start", "status": response.status, "headers": raw})
    await send({"type": "http.response.body", "body": b"" if method == "HEAD" else content})


def render(response: Response) -> tuple[dict[str, str], bytes]:
    """Return the headers, their names in lower case, and the content of a response that is not a file."""
    headers = {
        name.lower(): _BREAKS.sub(" ", value) if "\r" in value or "\n" in value else value
        for name, value in response.headers.items()
    }
    body = response.body
    if isinstance(body, dict | list):
        headers.setdefault("content-type", "application/json; charset=utf-8")
        body = json.dumps(body, ensure_ascii=False, separators=(",", ":")).encode("utf-8", errors="replace")
    content = body if isinstance(body, bytes) and response.status not in _BODILESS else b""
    if response.status not in _BODILESS:
        headers.setdefault("content-length", str(len(content)))
    return headers, content


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection."""
    transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    transport.abort()
