"""Watch a notebook while it is executed, by time limits, signals and events; stop it so that it can undo."""

import signal
import threading
from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import monotonic
from typing import Any

from opslib.evidence.run.journal import Heartbeat, JournalTail
from opslib.redaction.kernel_pipes import SecretsPipe
from opslib.signals import handled

GRACE_S = 120.0
"""How long an interrupted kernel may take to undo its change before it is killed [seconds]."""

ENGINE = "opslib.runner.papermill_engine"
"""The module that executes; it imports papermill for half a second, and so is imported where it is needed."""

Event = Mapping[str, Any]


@dataclass
class Watch:
    """State that the watching and the executing thread share."""

    folder: Path
    archive: Path
    timeout_s: float | None
    hang_s: float | None
    on_event: Callable[[Event], None]
    secrets: SecretsPipe
    kernel: str = ""
    stop_reason: str = ""
    client: Any = None
    ended: bool = False
    begun_s: float = field(default_factory=monotonic)
    heartbeat: Heartbeat = field(init=False)
    tail: JournalTail = field(init=False)
    _signalled: bool = False  # while nothing is executed

    def __post_init__(self) -> None:
        self.heartbeat, self.tail = Heartbeat(self.folder), JournalTail(self.folder)

    def stop(self, reason: str) -> None:
        """Interrupt the kernel, once: the cell then undoes its change, which a second interrupt would break."""
        if self.stop_reason:
            return
        self.stop_reason = reason
        self.signal_kernel(signal.SIGINT)

    def hangs(self) -> bool:
        """Return whether the kernel has been inactive for longer than `hang_s`."""
        return self.hang_s is not None and self.heartbeat.idle_s() > self.hang_s

    def signal_kernel(self, signum: signal.Signals) -> None:
        """Send the kernel a signal, if it is running; never to another process that has its number now."""
        provisioner = getattr(getattr(self.client, "km", None), "provisioner", None)
        process = getattr(provisioner, "process", None)  # None once Jupyter knows that it has ended; its pid stays
        if process is not None:
            process.send_signal(signum)

    def read_events(self) -> None:
        """Pass the journal's new events to `on_event`."""
        for event in self.tail.read():
            self.on_event(event)

    def handle_signals(self) -> AbstractContextManager[None]:
        """Stop at SIGTERM and Ctrl-C during a block: a run that a signal ends would be left open."""
        if threading.current_thread() is not threading.main_thread():
            return nullcontext()
        return handled(self._stop_by_signal, signal.SIGTERM, signal.SIGINT)

    def _stop_by_signal(self, signum: signal.Signals) -> None:
        """Stop what is executed; what has been executed is sealed nevertheless.

        Before and after it, a second signal ends what the run waits for, such as a lock.
        """
        waits = self.client is None or self.ended
        if waits and self._signalled:
            raise KeyboardInterrupt
        self._signalled = waits
        if not self.ended:
            self.stop(f"the run was stopped by {signum.name}")


def execute_watched(notebook: Path, parameters: Mapping[str, Any], watch: Watch) -> BaseException | None:
    """Execute in a thread; this thread handles time limits and journal events. Return what was raised."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            import_module(ENGINE).execute(notebook, parameters, watch)
        except BaseException as error:  # noqa: BLE001 - it is returned
            raised.append(error)

    worker = threading.Thread(target=work, name="papermill", daemon=True)
    worker.start()
    stopped_s: float | None = None
    while worker.is_alive():
        worker.join(0.2)
        watch.secrets.drain()  # a full pipe would stop the kernel where it reads a key
        watch.read_events()
        now_s = monotonic()
        if watch.hangs():
            watch.stop(f"the kernel hung: it was inactive for {watch.hang_s:g} s")
            watch.signal_kernel(signal.SIGKILL)  # it does not handle an interrupt
        if watch.timeout_s is not None and now_s - watch.begun_s > watch.timeout_s:
            watch.stop(f"the run did not end within {watch.timeout_s:g} s")
        if watch.stop_reason:
            stopped_s = stopped_s or now_s
            if now_s - stopped_s > GRACE_S:
                watch.signal_kernel(signal.SIGKILL)
    watch.read_events()
    watch.ended = True
    return raised[0] if raised else None


def import_papermill() -> None:
    """Import papermill, most of which a kernel imports too."""
    import_module("papermill")
