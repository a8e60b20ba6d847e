"""A CONNECT proxy on loopback, for programs with hard-coded Azure host names.

A client with the proxy in `HTTPS_PROXY` sends, for example, `CONNECT management.azure.com:443`; the proxy connects
it to the sandbox, which presents a certificate for that name. Every other host is refused, so that nothing reaches
the public cloud.

Source: RFC 9110, section 9.3.6 (CONNECT).
"""

import asyncio
import contextlib
import re
import socket

from opslib.sandbox.core.azure_hosts import covers

_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):(\d{1,5}) HTTP/1\.[01]\r\n")
_HEAD_BYTES = 16 * 1024
_HEAD_TIMEOUT_S = 10.0
_CHUNK_BYTES = 64 * 1024


class ConnectProxy:
    """Connects a client of an Azure host name to the sandbox."""

    def __init__(self, port: int) -> None:
        self._port = port  # where the sandbox serves

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            host = await self._read_host(reader)
            if host is None or not covers(host):
                await _refuse(writer, host)
                return
            inside, outside = await asyncio.open_connection("127.0.0.1", self._port)
            writer.write(b"HTTP/1.1 200 Connection established\r\n\r\n")
            await asyncio.gather(_pump(reader, outside), _pump(inside, writer))
        except (OSError, TimeoutError):
            pass  # either side went away
        finally:
            writer.close()

    async def _read_host(self, reader: asyncio.StreamReader) -> str | None:
        """Return the host of a CONNECT to port 443; None when the request is anything else."""
        try:
            async with asyncio.timeout(_HEAD_TIMEOUT_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        match = _CONNECT.match(head)
        return match[1].decode("ascii").lower() if match and match[2] == b"443" else None


async def start_proxy(port: int, listener: socket.socket) -> asyncio.Server:
    """Start the proxy of a sandbox that serves on `port`."""
    return await asyncio.start_server(ConnectProxy(port), sock=listener, limit=_HEAD_BYTES)


async def _refuse(writer: asyncio.StreamWriter, host: str | None) -> None:
    text = f"The sandbox does not implement {host}." if host else "Only CONNECT to port 443 is understood."
    status = b"501 Not Implemented" if host else b"400 Bad Request"
    body = text.encode()
    writer.write(b"HTTP/1.1 " + status + b"\r\nConnection: close\r\nContent-Type: text/plain\r\n")
    writer.write(b"Content-Length: %d\r\n\r\n" % len(body) + body)
    await writer.drain()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """Carry bytes one way until they end."""
    try:
        while chunk := await reader.read(_CHUNK_BYTES):
            writer.write(chunk)
            await writer.drain()
    finally:
        with contextlib.suppress(OSError, RuntimeError):
            writer.close()
