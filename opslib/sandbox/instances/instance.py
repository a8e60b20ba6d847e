"""One instance: a process group on loopback, of Microsoft's inference server or of a server of its own; its log."""

import asyncio
import contextlib
import io
import os
import signal
import socket
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path

from opslib.sandbox.core.process import ProcessId, Usage
from opslib.sandbox.instances.console import Console
from opslib.sandbox.instances.containers import Route
from opslib.sandbox.instances.launcher import Launch, Launcher, Process
from opslib.sandbox.instances.own_server import OwnServer, remove_container
from opslib.sandbox.instances.packages import Imports, find_imports
from opslib.sandbox.instances.payload import Payload
from opslib.sandbox.instances.upstream import Upstream, UpstreamLost, ask

_PROBE_INTERVAL_S = 0.05
_LOG_BYTES = 1_000_000


@cache
def _server_version() -> str:
    from importlib import metadata  # noqa: PLC0415 - it reads every installed package's folder

    return metadata.version("azureml-inference-server-http")


class InstanceLog:
    """The last lines that a container printed, in a file of bounded size; the older half in `.1`."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self.path = path
        self._file: io.TextIOWrapper | None = None
        self._bytes = 0

    def append(self, *lines: str) -> None:
        """Append lines."""
        if self._file is None:
            self._file = self.path.open("a", encoding="utf-8")
            self._bytes = self._file.tell()
        self._bytes += self._file.write("".join([f"{line}\n" for line in lines]))
        self._file.flush()
        if self._bytes > _LOG_BYTES:
            self.close()
            self.path.replace(self.path.with_suffix(".1"))

    def close(self) -> None:
        """Close the file; the next line opens it again."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def tail(self, lines: int) -> str:
        """Return the last lines."""
        text = ""
        for path in (self.path.with_suffix(".1"), self.path):
            if path.exists():
                text += path.read_text(encoding="utf-8", errors="replace")
        return "".join(line + "\n" for line in text.splitlines()[-lines:])


class Instance:
    """A process group that serves one deployment.

    Attributes
    ----------
    in_flight
        Requests that it works on now [count].
    given
        Environment variables that do not come from its deployment.
    ready
        Whether it is in rotation.
    upstream
        The connections for scoring requests.
    usage
        CPU and memory as last sampled.
    out_of_memory
        Whether it is killed for want of memory.
    """

    def __init__(
        self, instance_id: str, payload: Payload, root: Path, log: InstanceLog, launcher: Launcher
    ) -> None:
        self.id = instance_id
        self.payload = payload
        self.root = root
        self.log = log
        self.port = 0
        self._ports: dict[int, int] = {}
        self.in_flight = 0
        self.ready = True
        self.given: dict[str, str] = {}
        self.usage: Usage | None = None
        self.stopping = False
        self.out_of_memory = False
        self._launcher = launcher
        self._process: Process | None = None
        self._identity: ProcessId | None = None
        self._console: Console | None = None
        self._probes: dict[tuple[Route, float], asyncio.Task[bool]] = {}  # that are under way
        self.upstream = Upstream(0)

    @property
    def identity(self) -> ProcessId:
        """Return the process group's leader."""
        if self._identity is None:
            raise RuntimeError(f"instance {self.id} has not been started")
        return self._identity

    async def start(self, blobs: Path, on_lines: Callable[[Sequence[str]], None]) -> None:
        """Write its folder and start its processes; the socket is bound here, so no port is taken twice."""
        imports = await asyncio.to_thread(self._write, blobs)
        with contextlib.ExitStack() as open_until_started:
            for inside in self.payload.routes.ports:
                listener = open_until_started.enter_context(socket.create_server(("127.0.0.1", 0), backlog=512))
                self._ports[inside] = listener.getsockname()[1]
            self.port = self._ports[self.payload.routes.scoring.port]
            container = self.payload.container
            self.upstream = Upstream(self.port, keeps=container is None)
            reader, output = os.pipe()
            self._console = Console(reader, lambda lines: self._printed(lines, on_lines))
            try:
                if container is None:
                    self._process = await self._launcher.start(self._launch(imports), listener.fileno(), output)
                else:
                    open_until_started.close()
                    own = OwnServer(container, self.payload, self.id, self.root, self._ports, self.given)
                    folder = self.root / self.payload.app_root
                    self._process = await self._launcher.start_own(own.command(), own.variables(), folder, output)
            finally:
                os.close(output)
        self._identity = ProcessId.of(self._process.pid) or ProcessId(self._process.pid, 0)

    async def become_ready(self, within_s: float) -> bool:
        """Poll the readiness route until it answers 200; False when the process ends or time is up."""
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(within_s):
                while self.running():
                    if await self.is_ready(2.0):
                        return True
                    await asyncio.sleep(_PROBE_INTERVAL_S)
        return False

    def running(self) -> bool:
        """Return whether the server's main process has not ended."""
        return self._process is not None and self._process.returncode is None

    async def ended(self) -> int:
        """Wait for the end of the process; return its code."""
        if self._process is None:
            return 0
        code = await self._process.wait()
        self.upstream.close()
        if self._console is not None:
            await asyncio.shield(self._console.ended)
            self.log.close()
        await remove_container(self.payload.container, self.id)
        return code

    async def stop(self, grace_s: float = 5.0) -> None:
        """End the processes: SIGTERM, then SIGKILL."""
        self.stopping = True
        if not self.running() or self._process is None:
            return
        self.identity.signal_group(signal.SIGTERM)
        try:
            async with asyncio.timeout(grace_s):
                await self._process.wait()
        except TimeoutError:
            self.identity.signal_group(signal.SIGKILL)
            await self._process.wait()
        await remove_container(self.payload.container, self.id)

    def kill(self) -> None:
        """End its processes at once (SIGKILL); the fleet then restarts it."""
        self.identity.signal_group(signal.SIGKILL)

    def run_out_of_memory(self) -> None:
        """Kill its processes as the kernel does where a container is out of memory."""
        self.out_of_memory = True
        self.kill()

    def freeze(self) -> None:
        """Stop its processes (SIGSTOP): they exist and answer nothing."""
        self.identity.signal_group(signal.SIGSTOP)

    async def is_alive(self, timeout_s: float) -> bool:
        """Probe once: return whether the liveness route answers 200 in time."""
        return await self._answers(self.payload.routes.liveness, timeout_s)

    async def is_ready(self, timeout_s: float) -> bool:
        """Probe once: return whether the readiness route answers 200 in time."""
        return await self._answers(self.payload.routes.readiness, timeout_s)

    async def _answers(self, route: Route, timeout_s: float) -> bool:
        """Probe a route; by default liveness and readiness are due at one time, and of one request's answer."""
        if self.payload.container is not None:  # its server sees each probe
            return await self._probe(route, timeout_s)
        key = route, timeout_s
        if key not in self._probes:
            self._probes[key] = asyncio.create_task(self._probe(route, timeout_s))
            self._probes[key].add_done_callback(lambda _: self._probes.pop(key))
        return await asyncio.shield(self._probes[key])

    async def _probe(self, route: Route, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                return (await ask(self._ports[route.port], "GET", route.path, {})).status == 200
        except (UpstreamLost, TimeoutError):
            return False

    def read_console(self) -> None:
        """Take in what it has printed."""
        if self._console is not None:
            self._console.read()

    def _printed(self, lines: Sequence[str], on_lines: Callable[[Sequence[str]], None]) -> None:
        self.log.append(*lines)
        on_lines(lines)

    def _write(self, blobs: Path) -> Imports:
        payload = self.payload
        payload.write(blobs, self.root)
        files = [target for _, target in payload.files]
        return find_imports(payload.packages, dict(payload.variables), files, self.root)

    def _launch(self, imports: Imports) -> Launch:
        variables = dict(self.payload.variables)
        arguments = (
            *("-w", variables.get("WORKER_COUNT", "1"), "--timeout", variables.get("WORKER_TIMEOUT", "300")),
            *("--access-logfile", "-", "--error-logfile", "/dev/null"),
            "azureml_inference_server_http.server.entry:app",
        )
        own = {"HOSTNAME": self.id, "SERVER_PORT": str(self.port)}
        given = own | self.given | self.payload.server_variables(self.root, _server_version())
        return Launch(arguments, given, self.root / self.payload.app_root, imports)
