"""Execute a notebook with papermill, watch its kernel, and stop it so that it can undo its change."""

import logging
import os
import signal
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from importlib import import_module
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from opslib.evidence.run.files import FOLDER_VARIABLE, KERNEL_LOG, NOTEBOOK
from opslib.evidence.run.journal import Heartbeat, JournalTail
from opslib.evidence.run.notebook import SCHEME, NotebookFile, merge_streams, remove_colours
from opslib.evidence.signing.keys import SIGNING_VARIABLES
from opslib.redaction.kernel_pipes import SecretsPipe, masked_log
from opslib.redaction.redact import PIPE_VARIABLE

PROVISIONER = "opslib-prepared"
"""Name under which the package registers `PreparedKernelProvisioner` with Jupyter."""

GRACE_S = 120.0
"""How long an interrupted kernel may take to undo its change before it is killed [seconds]."""

IOPUB_TIMEOUT_S = 30
"""How long the outputs of a cell that has ended may take. nbclient waits for 4 s, which a busy machine exceeds: the
run of a promoted canary would end as failed [seconds]."""

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
    begun_s: float = field(default_factory=monotonic)
    heartbeat: Heartbeat = field(init=False)
    tail: JournalTail = field(init=False)

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
        """Send the kernel a signal, if it is running."""
        provisioner = getattr(getattr(self.client, "km", None), "provisioner", None)
        pid = getattr(provisioner, "pid", None)
        if pid:
            with suppress(ProcessLookupError):
                os.kill(pid, signum)

    def read_events(self) -> None:
        """Pass the journal's new events to `on_event`."""
        for event in self.tail.read():
            self.on_event(event)


def execute_watched(notebook: Path, parameters: Mapping[str, Any], watch: Watch) -> BaseException | None:
    """Execute in a thread; this thread handles time limits, signals and journal events. Return what was raised."""
    raised: list[BaseException] = []

    def work() -> None:
        try:
            _papermill(notebook, parameters, watch)
        except BaseException as error:  # noqa: BLE001 - it is returned
            raised.append(error)

    worker = threading.Thread(target=work, name="papermill", daemon=True)
    with _signals(watch):
        worker.start()
        stopped_s: float | None = None
        while worker.is_alive():
            worker.join(0.2)
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
    return raised[0] if raised else None


@contextmanager
def _signals(watch: Watch) -> Iterator[None]:
    """Handle SIGTERM and Ctrl-C by `Watch.stop`; with papermill alone the kernel would end without its undo."""

    def handle(signum: int, _: FrameType | None) -> None:
        watch.stop(f"the run was stopped by {signal.Signals(signum).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def import_papermill() -> None:
    """Import what executes a notebook, most of which a kernel imports too."""
    import_module("papermill")


def _papermill(notebook: Path, parameters: Mapping[str, Any], watch: Watch) -> None:
    """Run papermill with an engine that marks unfinished cells as failed."""
    import papermill  # noqa: PLC0415 - takes half a second
    from jupyter_core.utils import ensure_event_loop  # noqa: PLC0415
    from papermill.clientwrap import PapermillNotebookClient  # noqa: PLC0415
    from papermill.engines import Engine, papermill_engines  # noqa: PLC0415
    from papermill.iorw import papermill_io  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    from opslib.runner.kernel_client import PromptClient  # noqa: PLC0415 - it imports jupyter_client

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        def create_kernel_manager(self) -> Any:
            manager = super().create_kernel_manager()
            manager.kernel_spec_manager.kernel_dirs = _kernel_folders()
            manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": PROVISIONER}
            manager.client_factory = PromptClient
            watch.kernel = manager.kernel_spec.display_name
            # the installed name: JupyterLab would otherwise correct it and alter the file
            self.nb.metadata.kernelspec.display_name = watch.kernel
            return manager

        def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
            if watch.stop_reason:
                raise InterruptedError(watch.stop_reason)
            try:
                return super().execute_cell(cell, cell_index, **kwargs)
            finally:
                if "outputs" in cell:
                    cell["outputs"] = merge_streams(cell["outputs"])
                    remove_colours(cell["outputs"])

    class WatchedEngine(Engine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            with tempfile.TemporaryDirectory(prefix="opslib-") as sockets:
                ipc = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
                nb_man.nb.metadata.papermill.output_path = str(watch.folder / NOTEBOOK)
                _save_by_cell(nb_man, file)
                watch.client = Client(
                    nb_man,
                    kernel_name=kernel_name,
                    startup_timeout=60,
                    iopub_timeout=IOPUB_TIMEOUT_S,
                    timeout=None,
                    config=ipc,
                )
                try:
                    with masked_log(watch.folder / KERNEL_LOG, watch.secrets) as log:
                        watch.client.execute(env=_environment(watch), stdout=log, stderr=log)
                except BaseException:
                    _mark_unfinished(nb_man)
                    raise

    # it warns of each parameter outside the notebook's cell of ten lines; all of them were validated before
    logging.getLogger("papermill").setLevel(logging.ERROR)
    # papermill's registries are global: a name per run keeps the runs of one process apart
    engine = watch.folder.name
    papermill_engines.register(engine, WatchedEngine)
    file = NotebookFile(watch.folder / NOTEBOOK, watch.secrets.drain)
    papermill_io.register(f"{SCHEME}{watch.folder}", file)
    try:
        papermill.execute_notebook(
            str(notebook),
            f"{SCHEME}{watch.folder / NOTEBOOK}",
            parameters=dict(parameters),
            engine_name=engine,
            request_save_on_cell_execute=False,  # the engine saves instead
            progress_bar=False,
        )
    finally:
        papermill_io.get_handler("local").cwd(None)  # two runs at once would each restore the other's folder
        ensure_event_loop().close()  # nbclient makes one for this thread and leaves it open


def _save_by_cell(nb_man: Any, file: NotebookFile) -> None:
    """Save the notebook when a code cell starts, and when one ends that no other follows at once.

    Prose is not executed, and what a cell has printed is saved with the start of the next one. The last save of a
    notebook that ran to its end is papermill's own.
    """
    last = next((cell for cell in reversed(nb_man.nb.cells) if cell.cell_type == "code"), None)

    def save(**_: Any) -> None:
        file.save(nb_man.nb)
        nb_man.last_save_time = nb_man.now()

    def where(needed: Callable[[Any], bool], step: Callable[..., None]) -> Callable[..., None]:
        def call(cell: Any = None, *args: Any, **kwargs: Any) -> None:
            nb_man.save = save if needed(cell) else lambda **_: None
            step(*(() if cell is None else (cell,)), *args, **kwargs)
            nb_man.save = save

        return call

    def ends(cell: Any) -> bool:
        return cell is last or bool(cell.metadata.papermill["exception"]) or _is_raising()

    nb_man.cell_start = where(lambda cell: cell.cell_type == "code", nb_man.cell_start)
    nb_man.cell_complete = where(lambda cell: cell.cell_type == "code" and ends(cell), nb_man.cell_complete)
    nb_man.notebook_complete = where(lambda _: _is_raising(), nb_man.notebook_complete)
    save()


def _is_raising() -> bool:
    """Return whether this is called while an exception passes, by its `finally`."""
    return sys.exc_info()[0] is not None


def _kernel_folders() -> list[str]:
    """Return where Jupyter searches for kernels; its own default imports IPython to find the last of them."""
    from jupyter_core.paths import jupyter_path  # noqa: PLC0415 - papermill has imported it

    of_ipython = Path(os.environ.get("IPYTHONDIR") or "~/.ipython").expanduser() / "kernels"
    return [*jupyter_path("kernels"), str(of_ipython)]


def _environment(watch: Watch) -> dict[str, str]:
    """Return the kernel's environment: this process's without the signing key, plus the run's folder."""
    inherited = {name: value for name, value in os.environ.items() if name not in SIGNING_VARIABLES}
    return inherited | {
        FOLDER_VARIABLE: str(watch.folder),
        PIPE_VARIABLE: str(watch.secrets.path),
        "OPSLIB_RUNS": str(watch.archive.resolve()),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _mark_unfinished(nb_man: Any) -> None:
    """Mark the last started cell as failed; papermill has marked it as completed."""
    started = [cell for cell in nb_man.nb.cells if cell.metadata.get("papermill", {}).get("start_time")]
    if started:
        started[-1].metadata.papermill["status"] = nb_man.FAILED
        started[-1].metadata.papermill["exception"] = True
    nb_man.nb.metadata.papermill["exception"] = True
