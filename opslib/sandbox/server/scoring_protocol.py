"""The server's side of a connection: a plain scoring request goes to the gateway without ASGI.

ASGI's events and the stages of ARM's pipeline would take a third of the processor time. A request of any other form
goes through them: to another route, with a query, an escaped path, a long or chunked body, `Expect`.

Source of what `Exchange` replaces: uvicorn 0.35 to 0.54, `protocols/http/httptools_impl.py`.
"""

import asyncio
import re
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any, cast

from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from opslib.sandbox.arm.http_messages import NOTHING, Request, Response
from opslib.sandbox.core import ids
from opslib.sandbox.core.azure_hosts import covers
from opslib.sandbox.faults.registry import ConnectionDropped
from opslib.sandbox.server.application import Application, render, reset
from opslib.sandbox.server.pipeline import failed

if TYPE_CHECKING:
    from opslib.sandbox.core.context import Backend

_SEGMENT = rb"[\w.~!$&'()*+,;=:@-]+"
_PATH = re.compile(rb"/inference/(%b)/(%b)/((?:%b/)*%b)" % (_SEGMENT, _SEGMENT, _SEGMENT, _SEGMENT))
_METHODS = (b"POST", b"GET", b"PUT", b"OPTIONS")
_BODY_BYTES = 64 * 1024  # uvicorn pauses a connection that holds more


class ScoringProtocol(HttpToolsProtocol):
    """uvicorn's protocol of one connection, with a short way to the gateway; it reports closed connections."""

    _url = b""  # of the last request, and what it names
    _names: Mapping[str, str] | None = None
    _sent: Sequence[tuple[bytes, bytes]] = ()  # the last request's headers, and as they are read
    _read: Mapping[str, str] = NOTHING

    @property
    def sandbox(self) -> "Backend":
        """The sandbox that is served."""
        return cast("Application", self.config.app).sandbox

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
        """Return a scoring request that needs no ASGI."""
        if self.url != self._url:  # a connection's requests are mostly for one path
            self._url, self._names = self.url, _names(self.url)
        method = self.parser.get_method()
        if self._names is None or method not in _METHODS or self.parser.get_http_version() != "1.1":
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
            or covers(headers.get("host", "").lower().removesuffix(":443"))
        ):
            return None
        return Exchange(self, method.decode("ascii"), headers, self._names)


def _names(url: bytes) -> Mapping[str, str] | None:
    """Return the parameters of a scoring route; None for another path."""
    match = _PATH.fullmatch(url) if url.startswith(b"/inference/") else None
    if match is None:
        return None
    location, endpoint, rest = (part.decode("ascii") for part in match.groups())
    return {"location": location, "endpoint": endpoint, "rest": rest}


class Exchange:
    """A scoring request and its answer, with the attributes that uvicorn reads of its own RequestResponseCycle.

    Attributes
    ----------
    queued
        Whether it waits for the answer to an earlier request of its connection; uvicorn then calls `run_asgi`.
    """

    def __init__(
        self, protocol: ScoringProtocol, method: str, headers: Mapping[str, str], parameters: Mapping[str, str]
    ) -> None:
        self.queued = False
        self.body = bytearray()
        self.more_body = True
        self.response_complete = False
        self.disconnected = False
        self.keep_alive = protocol.parser.should_keep_alive()
        self.message_event = asyncio.Event()
        self._protocol = protocol
        self._method = method
        self._headers = headers
        self._parameters = parameters

    async def run_asgi(self, _app: object = None) -> None:
        """Answer the request, once it is whole."""
        while self.more_body and not self.disconnected:
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected:
            return
        sandbox, names = self._protocol.sandbox, self._parameters
        request = Request(
            method=self._method,
            path=f"/inference/{names['location']}/{names['endpoint']}/{names['rest']}",
            query={},
            headers=self._headers,
            body=bytes(self.body),
            base_url=sandbox.base_url,
            request_id=ids.new_guid(),
            client=self._protocol.caller,
            parameters=names,
        )
        try:
            response = await sandbox.gateway.score(request)
        except ConnectionDropped:
            reset(self._protocol.transport)
            return
        except Exception as error:  # noqa: BLE001 - as the pipeline
            response = failed(request, error, sandbox.settings.location)
        if self._protocol.flow.write_paused and not self.disconnected:
            await self._protocol.flow.drain()
        if not self.disconnected:
            self._send(response)

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
