"""The HTTP/1.1 client of an instance, on loopback.

The inference server's worker keeps the sandbox's connections open (`worker.py`); to a deployment's own server each
request has a connection of its own. A model is never scored twice for one request: one that was sent on a kept
connection is sent again only where the kernel reports that the server closed it without reading the request.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httptools

KEPT = "keep-alive"
"""The header with which the sandbox requests that a connection stays open, and the worker confirms it."""

_MOST_IDLE = 16
"""Kept connections of one instance that wait for a request [count]."""


class UpstreamLost(Exception):  # noqa: N818 - what happened
    """The instance cannot be reached, or ended its answer before the end."""


class _NotRead(UpstreamLost):
    """The connection was reset before the answer began: the server had not read the request."""


@dataclass(frozen=True)
class UpstreamAnswer:
    """What an instance answered; header names are in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes


class Upstream:
    """The connections to one port of an instance.

    Parameters
    ----------
    keeps
        Whether to request that connections stay open.
    """

    def __init__(self, port: int, *, keeps: bool = False) -> None:
        self._port = port
        self._head = f" HTTP/1.1\r\nhost: 127.0.0.1:{port}\r\n" + (f"{KEPT}: sandbox\r\n" if keeps else "")
        self._idle: list[_Connection] = []

    async def ask(self, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> UpstreamAnswer:
        """Send one request and wait for its answer; cancelling closes the connection.

        Raises
        ------
        UpstreamLost
            If there is no whole answer.
        """
        lines = "".join([f"{name}: {value}\r\n" for name, value in headers.items()])
        if body or method in ("POST", "PUT"):
            lines += f"content-length: {len(body)}\r\n"
        request = f"{method} {target}{self._head}{lines}\r\n".encode("latin-1") + body
        while self._idle:
            try:
                return await self._exchange(self._idle.pop(), request)
            except _NotRead:  # closed while it was idle, or its worker ended: another one reads the request
                continue
        try:
            _, connection = await asyncio.get_running_loop().create_connection(
                lambda: _Connection(self._idle), "127.0.0.1", self._port
            )
        except OSError as error:
            raise UpstreamLost(str(error)) from error
        return await self._exchange(connection, request)

    def close(self) -> None:
        """Close the connections that wait for a request."""
        while self._idle:
            self._idle.pop().abort()

    async def _exchange(self, connection: "_Connection", request: bytes) -> UpstreamAnswer:
        try:
            answer = await connection.send(request)
        except BaseException:
            connection.abort()
            raise
        if connection.stays and len(self._idle) < _MOST_IDLE:
            self._idle.append(connection)
        else:
            connection.abort()
        return answer


async def ask(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> UpstreamAnswer:
    """Send one request on a connection of its own; see `Upstream.ask`."""
    return await Upstream(port).ask(method, target, headers, body)


class _Connection(asyncio.Protocol):
    """Writes one request at a time, and parses what comes back."""

    def __init__(self, idle: list["_Connection"]) -> None:
        self.stays = False  # whether another request may follow
        self._idle = idle
        self._transport: Any = None
        self._answer: asyncio.Future[UpstreamAnswer] | None = None
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._heard = self._begun = False
        self._parser: Any = httptools.HttpResponseParser(self)

    def send(self, request: bytes) -> asyncio.Future[UpstreamAnswer]:
        """Send a request; return what will be its answer."""
        self._headers, self._chunks = {}, []
        self.stays = self._heard = self._begun = False
        self._answer = asyncio.get_running_loop().create_future()
        self._transport.write(request)
        return self._answer

    def abort(self) -> None:
        """Close the connection at once."""
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the transport."""
        self._transport = transport

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        self._heard = True
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(UpstreamLost(str(error)))
            self.abort()

    def connection_lost(self, exc: Exception | None) -> None:
        """End an answer without a length; anything else that is not whole is lost."""
        self.stays = False
        if self in self._idle:
            self._idle.remove(self)
        measured = {"content-length", "transfer-encoding"} & self._headers.keys()
        if self._begun and not measured and exc is None:
            self.on_message_complete()
        unread = isinstance(exc, ConnectionError) and not self._heard
        why = "the connection ended before the answer did"
        self._fail(_NotRead(why) if unread else UpstreamLost(why))

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.decode("latin-1").lower()] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the answer has begun."""
        self._begun = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        confirmed = KEPT in self._headers and self._parser.should_keep_alive()
        self.stays = confirmed and not (self._transport.is_closing() or self._transport.get_write_buffer_size())
        if self._answer is not None and not self._answer.done():
            self._answer.set_result(
                UpstreamAnswer(self._parser.get_status_code(), self._headers, b"".join(self._chunks))
            )

    def _fail(self, error: UpstreamLost) -> None:
        if self._answer is not None and not self._answer.done():
            self._answer.set_exception(error)
            self._answer.exception()  # the waiter may be gone
