"""gunicorn's synchronous worker, which also keeps the connections of the sandbox.

`launch.py` loads it by its path, so it imports nothing of the sandbox. It works on one request at a time in its
main thread, as does the class that it extends, on which Microsoft's inference server runs. That class closes each
connection after its answer; this one keeps those that request it by a header, and serves them in turn with others.
"""

import errno
import socket
from collections.abc import Callable
from datetime import datetime
from typing import Any

from gunicorn import util  # type: ignore[import-untyped]
from gunicorn.http import RequestParser, wsgi  # type: ignore[import-untyped]
from gunicorn.http.errors import NoMoreData  # type: ignore[import-untyped]
from gunicorn.workers.sync import SyncWorker  # type: ignore[import-untyped]

KEPT = "KEEP-ALIVE"  # `upstream.KEPT` in gunicorn's spelling
_GONE = (errno.EPIPE, errno.ECONNRESET, errno.ENOTCONN)
_TOGETHER_BYTES = 64 * 1024
_MOST_SELECTED = 1024  # select(2), FD_SETSIZE
_close = getattr(util, "close_graceful", util.close)  # since gunicorn 25


class Connection:
    """An accepted connection, which `select` can wait for.

    The parts of an answer are sent together: gunicorn writes head and body separately, and each would wake the
    sandbox.
    """

    def __init__(self, listener: Any, client: socket.socket, address: Any, parser: Any) -> None:
        self.listener = listener
        self.client = client
        self.address = address
        self.parser = parser
        self._parts: list[bytes] = []
        self._bytes = 0

    def fileno(self) -> int:
        """Return its descriptor."""
        return self.client.fileno()

    def sendall(self, data: bytes) -> None:
        """Take a part of an answer."""
        self._parts.append(data)
        self._bytes += len(data)
        if self._bytes > _TOGETHER_BYTES:
            self.flush()

    def flush(self) -> None:
        """Send the parts."""
        parts, self._parts, self._bytes = self._parts, [], 0
        if parts:
            self.client.sendall(b"".join(parts))

    def __getattr__(self, name: str) -> Any:
        """Return anything else of the socket, such as `sendfile`, after the parts were sent."""
        self.flush()
        return getattr(self.client, name)


class KeepingWorker(SyncWorker):  # type: ignore[misc]
    """Serves connections, and keeps those that request it."""

    def run(self) -> None:
        """Serve until the worker is ended."""
        for listener in self.sockets:
            listener.setblocking(0)
        self.run_for_multiple(self.timeout or 0.5)

    def accept(self, listener: Any) -> None:
        """Serve a connection that is new, or one that was kept and can be read."""
        if isinstance(listener, Connection):
            self._serve(listener)
        else:
            super().accept(listener)

    def handle(self, listener: Any, client: socket.socket, addr: Any) -> None:
        """Serve a new connection."""
        self._serve(Connection(listener, client, addr, RequestParser(self.cfg, client, addr)))

    def _serve(self, connection: Connection) -> None:
        request, stays = None, False
        try:
            request = next(connection.parser)
            stays = self._answer(connection, request)
        except (NoMoreData, StopIteration):  # the other side has closed it
            pass
        except OSError as error:
            if error.errno not in _GONE:
                self.log.exception("Socket error processing request.")
        except BaseException as error:  # noqa: BLE001 - as gunicorn: an answer, and a line in the log
            self.handle_error(request, connection.client, connection.address, error)
        if stays and connection.fileno() < _MOST_SELECTED:
            if connection not in self.wait_fds:
                self.wait_fds.append(connection)
            return
        if connection in self.wait_fds:
            self.wait_fds.remove(connection)
        _close(connection.client)

    def _answer(self, connection: Connection, request: Any) -> bool:
        """Answer one request, as `SyncWorker.handle_request` does; return whether the connection is kept."""
        keeps = any(name == KEPT for name, _ in request.headers)
        request.headers = [header for header in request.headers if header[0] != KEPT]
        environ, response = {}, None
        try:
            self.cfg.pre_request(self, request)
            started = datetime.now()  # noqa: DTZ005 - gunicorn's
            where = connection.listener.getsockname()
            response, environ = wsgi.create(request, connection, connection.address, where, self.cfg)
            self.nr += 1
            if self.nr >= self.max_requests:
                self.log.info("Autorestarting worker after current request.")
                self.alive = False
            if not (keeps and self.alive):
                response.force_close()
            body = self.wsgi(environ, _confirming(response))
            try:
                _write(response, body, environ)
                connection.flush()
            finally:
                self.log.access(response, request, environ, datetime.now() - started)  # noqa: DTZ005
                if hasattr(body, "close"):
                    body.close()
            return not response.should_close()
        except OSError:
            raise
        except (Exception, SystemExit):
            if response is None or not response.headers_sent:
                raise
            self.log.exception("Error handling request")  # what was sent is cut off, so that it is seen
            connection.flush()
            return False
        finally:
            self.cfg.post_request(self, request, environ, response)


def _write(response: Any, body: Any, environ: dict[str, Any]) -> None:
    """Write the whole of an answer."""
    if isinstance(body, environ["wsgi.file_wrapper"]):
        response.write_file(body)
    else:
        for item in body:
            response.write(item)
    response.close()


def _confirming(response: Any) -> Callable[..., Any]:
    """Return the `start_response` of an answer, which confirms that the connection is kept."""

    def start(status: str, headers: list[tuple[str, str]], exc_info: Any = None) -> Any:
        write = response.start_response(status, headers, exc_info)
        if not response.must_close:
            response.headers.append((KEPT, "sandbox"))
        return write

    return start
