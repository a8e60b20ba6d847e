"""The socket that the sandbox listens on, and the HTTP server behind it."""

import asyncio
import socket
import ssl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import cast

import uvicorn

from opslib.sandbox.core.azure_hosts import covers
from opslib.sandbox.core.certificates import AZURE, ensure_certificates
from opslib.sandbox.core.home import Home
from opslib.sandbox.server.application import Application
from opslib.sandbox.server.protocol import Protocol

_MAX_PORT = 65_535


class Server(uvicorn.Server):
    """uvicorn, without its signal handling: it would end the process before instances are ended.

    It is woken when it is to end, where uvicorn looks ten times a second.
    """

    def __init__(self, config: uvicorn.Config) -> None:
        super().__init__(config)
        self._exits = asyncio.Event()

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Leave signals to `serve`."""
        yield

    async def main_loop(self) -> None:
        """Write the Date header of responses each second, until it is to end."""
        while not await self.on_tick(0):
            with suppress(TimeoutError):
                async with asyncio.timeout(1.0):
                    await self._exits.wait()

    def exit(self) -> None:
        """Let it end when it can."""
        self.should_exit = True
        self._exits.set()


def listen(last: Path, port: int) -> socket.socket:
    """Bind `port`; if it is 0, the port of the last start, which is read from a file, or a free one."""
    wished = port or _read_port(last)
    try:
        listener = _bind(wished)
    except OSError:
        if port:
            raise
        listener = _bind(0)
    last.write_text(str(listener.getsockname()[1]))
    return listener


def _read_port(last: Path) -> int:
    """Return the port in a file; 0 where it has none, as after a write that was cut short."""
    text = last.read_text(encoding="utf-8", errors="replace") if last.exists() else ""
    return int(text) if text.isdecimal() and int(text) <= _MAX_PORT else 0


def _bind(port: int) -> socket.socket:
    """Bind a socket of protocol TCP: asyncio sets TCP_NODELAY only where the protocol is named."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind(("127.0.0.1", port))
        listener.listen(2048)
    except OSError:
        listener.close()
        raise
    return listener


def make_server(home: Home, application: Application) -> Server:
    """Return a server with the sandbox's TLS certificate."""
    certificate, key = home.private / "server.pem", home.private / "server-key.pem"
    ensure_certificates(home.authority, certificate, key)
    config = uvicorn.Config(
        application,
        ssl_certfile=str(certificate),
        ssl_keyfile=str(key),
        log_config=None,
        log_level="warning",
        access_log=False,
        server_header=False,
        proxy_headers=False,
        http=Protocol,
        ws="none",
        lifespan="off",
        timeout_keep_alive=65,
        timeout_graceful_shutdown=1,
    )
    config.load()
    _show_azure_names(home, cast("ssl.SSLContext", config.ssl))
    return Server(config)


def _show_azure_names(home: Home, context: ssl.SSLContext) -> None:
    """Present the certificate for Azure's names to clients that request one (RFC 6066, server name indication)."""
    authority, certificate, key = (
        home.private / name for name in ("azure-authority.pem", "azure.pem", "azure-key.pem")
    )
    ensure_certificates(authority, certificate, key, AZURE)
    home.azure_authority.write_bytes(home.authority.read_bytes() + authority.read_bytes())
    other = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    other.load_cert_chain(certificate, key)

    def choose(connection: ssl.SSLObject, name: str | None, _context: ssl.SSLContext) -> None:
        if name is not None and covers(name):
            connection.context = other

    context.sni_callback = choose
