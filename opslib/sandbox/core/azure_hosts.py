"""Azure's own host names: a door for programs that have them written down and cannot be told another address.

A client of this machine that is given the door as `HTTPS_PROXY` asks it to `CONNECT` to, say,
management.azure.com; it is connected to the sandbox, which shows a certificate for that name. No other host
is ever connected to: what the sandbox does not stand for is refused by name, so nothing reaches the public cloud.

Source: RFC 9110, section 9.3.6 (CONNECT); the names are those of Azure's public cloud in
https://management.azure.com/metadata/endpoints.
"""

import asyncio
import contextlib
import re
import socket

HOSTS = (
    "management.azure.com",
    "login.microsoftonline.com",
    "api.loganalytics.io",
    "prices.azure.com",
)
BLOB_SUFFIX = "blob.core.windows.net"
STORAGE_SUFFIX = "core.windows.net"
SANDBOX_STORAGE_SUFFIX = "sandbox.invalid"
_CONNECT = re.compile(rb"CONNECT ([A-Za-z0-9.-]{1,253}):(\d{1,5}) HTTP/1\.[01]\r\n")
_HEAD_BYTES = 16 * 1024
_HEAD_WITHIN_S = 10.0
_CHUNK_BYTES = 64 * 1024


def covers(host: str) -> bool:
    """Answer whether the sandbox stands for a host name of Azure's."""
    return host in HOSTS or account_of(host) is not None


def account_of(host: str) -> str | None:
    """Return the storage account that a blob host name belongs to.

    Examples
    --------
    >>> account_of("pictures.blob.core.windows.net")
    'pictures'
    >>> account_of("blob.core.windows.net") is None
    True
    """
    account, _, rest = host.partition(".")
    return account if rest == BLOB_SUFFIX else None


def own_path(host: str, path: str) -> str:
    """Return a request's path among the sandbox's own routes: a blob host's has its account in front.

    Examples
    --------
    >>> own_path("pictures.blob.core.windows.net", "/cats/1.png")
    '/blob/pictures/cats/1.png'
    """
    account = account_of(host)
    return path if account is None else f"/blob/{account}{path}"


class Door:
    """Connects whoever asks for a name of Azure's to the sandbox itself."""

    def __init__(self, port: int) -> None:
        self._port = port  # where the sandbox serves

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Serve one connection."""
        try:
            host = await self._asked(reader)
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

    async def _asked(self, reader: asyncio.StreamReader) -> str | None:
        """Return the host that is asked for; None when the request is not a CONNECT."""
        try:
            async with asyncio.timeout(_HEAD_WITHIN_S):
                head = await reader.readuntil(b"\r\n\r\n")
        except (asyncio.IncompleteReadError, asyncio.LimitOverrunError):
            return None
        match = _CONNECT.match(head)
        return match[1].decode("ascii").lower() if match and match[2] == b"443" else None


async def open_door(port: int, listener: socket.socket) -> asyncio.Server:
    """Open the door before a sandbox that serves on a port."""
    return await asyncio.start_server(Door(port), sock=listener, limit=_HEAD_BYTES)


async def _refuse(writer: asyncio.StreamWriter, host: str | None) -> None:
    said = f"The sandbox does not implement {host}." if host else "Only CONNECT to port 443 is understood."
    status = b"501 Not Implemented" if host else b"400 Bad Request"
    body = said.encode()
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
