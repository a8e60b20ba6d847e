"""The HTTP/1.1 client of an instance: one request on one loopback connection.

No connection is kept: gunicorn's synchronous worker, which the inference server runs on, closes each after its
answer, and would be held by one that stays. Nothing is retried: a model is never scored twice for one request.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import httptools


class UpstreamLost(Exception):  # noqa: N818 - what happened
    """The instance cannot be reached, or ended its answer before the end."""


@dataclass(frozen=True)
class UpstreamAnswer:
    """What an instance answered; header names as they were sent."""

    status: int
    headers: dict[str, str]
    body: bytes


async def ask(port: int, method: str, target: str, headers: Mapping[str, str], body: bytes = b"") -> UpstreamAnswer:
    """Send one request and wait for its answer; cancelling closes the connection.

    Raises
    ------
    UpstreamLost
        If there is no whole answer.
    """
    loop = asyncio.get_running_loop()
    lines = [f"{method} {target} HTTP/1.1", f"host: 127.0.0.1:{port}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body or method in ("POST", "PUT"):
        lines.append(f"content-length: {len(body)}")
    request = ("\r\n".join(lines) + "\r\n\r\n").encode("latin-1") + body
    try:
        transport, exchange = await loop.create_connection(lambda: _Exchange(loop, request), "127.0.0.1", port)
    except OSError as error:
        raise UpstreamLost(str(error)) from error
    try:
        return await exchange.answer
    finally:
        transport.abort()


class _Exchange(asyncio.Protocol):
    """Writes a request when the connection is there; parses what comes back."""

    def __init__(self, loop: asyncio.AbstractEventLoop, request: bytes) -> None:
        self.answer: asyncio.Future[UpstreamAnswer] = loop.create_future()
        self._request = request
        self._headers: dict[str, str] = {}
        self._chunks: list[bytes] = []
        self._begun = False
        self._parser: Any = httptools.HttpResponseParser(self)

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Send the request."""
        transport.write(self._request)  # type: ignore[attr-defined]

    def data_received(self, data: bytes) -> None:
        """Feed the parser."""
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError as error:
            self._fail(str(error))

    def connection_lost(self, exc: Exception | None) -> None:
        """End an answer without a length; anything else that is not whole is lost."""
        measured = {"content-length", "transfer-encoding"} & {name.lower() for name in self._headers}
        if self._begun and not measured and exc is None:
            self.on_message_complete()
        self._fail("the connection ended before the answer did")

    def on_header(self, name: bytes, value: bytes) -> None:
        """Take a header."""
        self._headers[name.decode("latin-1")] = value.decode("latin-1")

    def on_headers_complete(self) -> None:
        """Note that the answer has begun."""
        self._begun = True

    def on_body(self, body: bytes) -> None:
        """Take a piece of the body."""
        self._chunks.append(body)

    def on_message_complete(self) -> None:
        """Hand the answer over."""
        if not self.answer.done():
            self.answer.set_result(
                UpstreamAnswer(self._parser.get_status_code(), self._headers, b"".join(self._chunks))
            )

    def _fail(self, why: str) -> None:
        if not self.answer.done():
            self.answer.set_exception(UpstreamLost(why))
            self.answer.exception()  # the waiter may be gone
