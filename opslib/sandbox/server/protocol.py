"""The server's side of a connection: plain requests are answered without ASGI.

Of a scoring request ASGI's events and the stages of ARM's pipeline would take a third of the processor time; of a
request to ARM the head and the body of the answer, each sent by itself, a quarter. A request of any other form goes
through ASGI: to blobs or by a name of Azure, with a long or chunked body, `Expect`; a scoring request also with a
query or an escaped path.

Source of what `Exchange` replaces: uvicorn 0.35 to 0.54, `protocols/http/httptools_impl.py`.
"""

import asyncio
import logging
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import partial
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from opslib.sandbox.arm.http_messages import NOTHING, Request, Response
from opslib.sandbox.core import ids
from opslib.sandbox.core.azure_hosts import REGISTRY_PREFIX, covers
from opslib.sandbox.faults.registry import ConnectionDropped
from opslib.sandbox.server.application import Application, host_of, render, reset
from opslib.sandbox.server.pipeline import answer, failed

if TYPE_CHECKING:
    from opslib.sandbox.core.context import Backend

logger = logging.getLogger("opslib.sandbox")

_SEGMENT = rb"[\w.~!$&'()*+,;=:@-]+"
_PATH = re.compile(rb"/inference/(%b)/(%b)/((?:%b/)*%b)" % (_SEGMENT, _SEGMENT, _SEGMENT, _SEGMENT))
_METHODS = (b"POST", b"GET", b"PUT", b"OPTIONS")
_ARM = re.compile(rb"(/[\w.~!$&'()*+,;=:@%-][\w.~!$&'()*+,;=:@%/-]*)(?:\?([\w.~!$&'()*+,;=:@%/?{}\"|-]*))?")
_ARM_METHODS = (*_METHODS, b"PATCH", b"DELETE")
_NOT_ARM = re.compile(rb"/(blob|inference)\b|%b" % REGISTRY_PREFIX.encode(), re.IGNORECASE)
_BODY_BYTES = 64 * 1024  # uvicorn pauses a connection that holds more


class Protocol(HttpToolsProtocol):
    """uvicorn's protocol of one connection, with a short way for plain requests; it reports closed connections."""

    _url = b""  # of the last request, and what it names
    _names: Mapping[str, str] | None = None
    _sent: Sequence[tuple[bytes, bytes]] = ()  # the last request's headers, and as they are read
    _read: Mapping[str, str] = NOTHING

    @property
    def application(self) -> Application:
        """The application that answers other requests."""
        return cast("Application", self.config.app)

    @property
    def sandbox(self) -> "Backend":
        """The sandbox that is served."""
        return self.application.sandbox

    def on_headers_complete(self) -> None:
        """Begin a request."""
        exchange = self._plain()
        if exchange is None:
            super().on_headers_complete()
            return
        exchange.queued = self.cycle is not None and not self.cycle.response_complete
        self.cycle = cast("Any", exchange)
        if exchange.queued:  # behind the request before it on the connection
            self.flow.pause_reading()
            self.pipeline.appendleft((self.cycle, cast("Any", self.app)))

    def on_message_complete(self) -> None:
        """Answer a request that is whole."""
        super().on_message_complete()
        exchange: object = self.cycle
        if isinstance(exchange, Exchange) and not exchange.queued:
            task = self.loop.create_task(exchange.run_asgi())
            task.add_done_callback(self.tasks.discard)
            self.tasks.add(task)

    def connection_lost(self, exc: Exception | None) -> None:
        """Take a client's connection from those of endpoints."""
        self.sandbox.gateway.connections.close(self.caller)
        super().connection_lost(exc)

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Take the client's address."""
        super().connection_made(transport)
        self.caller = f"{self.client[0]}:{self.client[1]}" if self.client else ""

    def _plain(self) -> "Exchange | None":
        """Return the exchange of a request that needs no ASGI."""
        if self.url != self._url:  # a connection's scoring requests are mostly for one path
            self._url, self._names = self.url, _names(self.url)
        method = self.parser.get_method()
        if method not in (_ARM_METHODS if self._names is None else _METHODS):
            return None
        arm = _ARM.fullmatch(self.url) if self._names is None and not _NOT_ARM.match(self.url) else None
        if (self._names is None and arm is None) or self.parser.get_http_version() != "1.1":
            return None
        if self.headers != self._sent:  # and have mostly the same headers
            self._sent = self.headers
            self._read = {name.decode("latin-1"): value.decode("latin-1") for name, value in self.headers}
        headers = self._read
        length = headers.get("content-length", "0")
        most = min(_BODY_BYTES, self.sandbox.settings.max_payload_bytes)
        if (
            self.expect_100_continue
            or "transfer-encoding" in headers
            or self.parser.should_upgrade()
            or not (length.isdecimal() and int(length) <= most)
            or covers(host_of(headers))
        ):
            return None
        if arm is not None:
            return Exchange(self, partial(self._control, method, arm, headers))
        return Exchange(self, partial(self._score, method, headers, self._names or {}))

    async def _score(
        self, method: bytes, headers: Mapping[str, str], names: Mapping[str, str], body: bytes
    ) -> Response:
        """Answer a scoring request."""
        request = Request(
            method=method.decode("ascii"),
            path=f"/inference/{names['location']}/{names['endpoint']}/{names['rest']}",
            query={},
            headers=headers,
            body=body,
            base_url=self.sandbox.base_url,
            request_id=ids.new_guid(),
            client=self.caller,
            parameters=names,
        )
        return await self._answered(request, self.sandbox.gateway.score(request))

    async def _control(
        self, method: bytes, url: re.Match[bytes], headers: Mapping[str, str], body: bytes
    ) -> Response:
        """Answer a request to ARM or to another API."""
        path, query = url.groups(b"")
        target = self.application.target(path, headers)
        request = self.application.request(method.decode("ascii"), target, query, headers, body, self.caller)
        return await self._answered(request, answer(request, self.sandbox))

    async def _answered(self, request: Request, response: Awaitable[Response]) -> Response:
        """Return a response; one that shows the exception, where there is none: a client would wait for it."""
        try:
            return await response
        except ConnectionDropped:
            raise
        except Exception as error:  # noqa: BLE001 - as the pipeline
            return failed(request, error, self.sandbox.settings.location)


def _names(url: bytes) -> Mapping[str, str] | None:
    """Return the parameters of a scoring route; None for another path."""
    match = _PATH.fullmatch(url) if url.startswith(b"/inference/") else None
    if match is None:
        return None
    location, endpoint, rest = (part.decode("ascii") for part in match.groups())
    return {"location": location, "endpoint": endpoint, "rest": rest}


class Exchange:
    """A request and its answer, with the attributes that uvicorn reads of its own RequestResponseCycle.

    Attributes
    ----------
    queued
        Whether it waits for the answer to an earlier request of its connection; uvicorn then calls `run_asgi`.
    """

    def __init__(self, protocol: Protocol, respond: Callable[[bytes], Awaitable[Response]]) -> None:
        self.queued = False
        self.body = bytearray()
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = asyncio.Event()
        self._protocol = protocol
        self._respond = respond

    async def run_asgi(self, _app: object = None) -> None:
        """Answer the request, once it is whole."""
        while self.more_body and not self.disconnected:
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected:
            return
        try:
            response = await self._respond(bytes(self.body))
            if self._protocol.flow.write_paused and not self.disconnected:
                await self._protocol.flow.drain()
            if not self.disconnected:
                self._send(response)
        except ConnectionDropped:
            reset(self._protocol.transport)
        except Exception:
            logger.exception("an answer broke")
            self._protocol.transport.close()  # or its client would wait for it

    def _send(self, response: Response) -> None:
        """Send the answer in one piece."""
        headers, content = render(response)
        lines = [f"{name}: {value}\r\n" for name, value in headers.items()]
        if not self.keep_alive:
            lines.append("connection: close\r\n")
        date = [b"%b: %b\r\n" % header for header in self._protocol.server_state.default_headers]
        head = ("".join(lines) + "\r\n").encode("latin-1", "replace")
        self._protocol.transport.write(b"".join((STATUS_LINE[response.status], *date, head, content)))
        self.response_complete = True
        if not self.keep_alive:
            self._protocol.transport.close()
        self._protocol.on_response_complete()
