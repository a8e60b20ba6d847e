"""A real HTTP receiver of notices on loopback, which can also refuse, fail, hang or redirect."""

import json
import threading
from collections.abc import Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest

HANG_S = 20.0


@dataclass
class Receiver:
    """What was received, and how it answers.

    Attributes
    ----------
    url
        A webhook; `/404` and the like at its end answer with that status, `/hang` not at all.
    statuses
        Answers of the next requests, in order; afterwards 202.
    """

    url: str = ""
    statuses: list[int] = field(default_factory=list)
    got: list[tuple[str, dict[str, str], Any]] = field(default_factory=list)
    closing: threading.Event = field(default_factory=threading.Event)

    @property
    def bodies(self) -> list[Any]:
        """The bodies, in order."""
        return [body for _, _, body in self.got]

    def events(self) -> list[str]:
        """What the CloudEvents were about, in order."""
        return [body["type"].removeprefix("opslib.run.") for body in self.bodies]


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    received = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
            last = self.path.rpartition("/")[2]
            received.got.append((self.path, dict(self.headers), body))
            if last == "hang":
                received.closing.wait(HANG_S)
                return
            status = received.statuses.pop(0) if received.statuses else int(last) if last.isdecimal() else 202
            self.send_response(status)
            self.send_header("Location", received.url)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Log nothing."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    received.url = f"http://127.0.0.1:{server.server_port}/services/T0-secret-path"
    thread = threading.Thread(target=server.serve_forever, args=(0.02,))
    thread.start()
    yield received
    received.closing.set()
    server.shutdown()
    thread.join()
    server.server_close()
