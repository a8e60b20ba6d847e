"""Connections to an instance: kept by its worker, and no request scored twice or lost with another one's worker."""

import asyncio
import os
import signal
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import uvloop

from opslib.sandbox.instances.launcher import Launch, Launcher
from opslib.sandbox.instances.upstream import Upstream, UpstreamLost

APP = """
import os, time

def app(environ, start_response):
    path = environ["PATH_INFO"]
    with open("served", "a") as file:
        file.write(path + "\\n")
    if path in ("/slow", "/die"):
        time.sleep(0.2)
    if path == "/die":
        os._exit(7)
    start_response("200 OK", [] if path == "/chunks" else [("Content-Length", "1")])
    return [environ["REMOTE_PORT"].encode(), b"+" * 200_000] if path == "/chunks" else [b"x"]
"""


@asynccontextmanager
async def running(folder: Path, **variables: str) -> AsyncIterator[int]:
    """Start an instance's server on the application, and end it; the value is its port."""
    (folder / "application.py").write_text(APP)
    reader, output = os.pipe()
    os.close(reader)
    variables |= {"PYTHONHASHSEED": "7"}  # a process of its own, without Microsoft's server
    with socket.create_server(("127.0.0.1", 0)) as listener:
        launch = Launch(("application:app",), variables, folder)
        process = await Launcher().start(launch, listener.fileno(), output)
        os.close(output)
        port = int(listener.getsockname()[1])
    try:
        yield port
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        await process.wait()


def served(folder: Path) -> list[str]:
    return (folder / "served").read_text().split()


async def port_of(upstream: Upstream) -> str:
    """Return the client's port, as the application sees it."""
    answer = await upstream.ask("GET", "/chunks", {})
    assert answer.body.endswith(b"+" * 200_000)
    return answer.body.rstrip(b"+").decode()


def test_a_worker_keeps_the_sandboxs_connections(tmp_path):
    """Two requests share one; others have their own; a worker that ends loses only what it has read."""

    async def check() -> None:
        async with running(tmp_path) as port:
            kept, own = Upstream(port, keeps=True), Upstream(port)
            first = await port_of(kept)
            assert await port_of(kept) == first
            assert await port_of(own) != await port_of(own)
            assert await port_of(kept) == first
            await asyncio.gather(*(kept.ask("GET", "/slow", {}) for _ in range(3)))
            dying = asyncio.create_task(kept.ask("GET", "/die", {}))
            while "/die" not in served(tmp_path):  # noqa: ASYNC110 - another process serves it
                await asyncio.sleep(0.01)
            answers = await asyncio.gather(
                kept.ask("POST", "/queued", {}, b"x" * 100_000),
                *(kept.ask("GET", "/queued", {}) for _ in range(3)),
            )
            assert [answer.status for answer in answers] == [200] * 4
            with pytest.raises(UpstreamLost):
                await dying
            assert (served(tmp_path).count("/die"), served(tmp_path).count("/queued")) == (1, 4)
            kept.close()

    uvloop.run(check())


def test_several_workers_keep_no_connection(tmp_path):
    """A kept connection would wait for its worker while another one is free."""

    async def check() -> None:
        async with running(tmp_path, WEB_CONCURRENCY="2") as port:
            upstream = Upstream(port, keeps=True)
            assert await port_of(upstream) != await port_of(upstream)

    uvloop.run(check())
