"""Execute a notebook with papermill in a kernel that can be watched, saved cell by cell, without its secrets."""

import logging
import os
import sys
import tempfile
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import papermill
from jupyter_core.paths import jupyter_path
from jupyter_core.utils import ensure_event_loop
from nbformat import NotebookNode
from papermill.clientwrap import PapermillNotebookClient
from papermill.engines import Engine, NotebookExecutionManager, papermill_engines
from papermill.iorw import papermill_io
from traitlets.config import Config

from opslib.evidence.run.files import FOLDER_VARIABLE, KERNEL_LOG, NOTEBOOK
from opslib.evidence.run.notebook import SCHEME, NotebookFile, merge_streams, remove_colours
from opslib.evidence.signing.keys import SIGNING_VARIABLES
from opslib.redaction.kernel_pipes import masked_log
from opslib.redaction.redact import PIPE_VARIABLE
from opslib.runner.kernel_client import PromptClient
from opslib.runner.watch import Watch

NAME = "opslib"
"""Name of the engine in papermill's registry."""

PROVISIONER = "opslib-prepared"
"""Name under which the package registers `PreparedKernelProvisioner` with Jupyter."""

IOPUB_TIMEOUT_S = 30
"""How long the outputs of a cell that has ended may take. nbclient waits for 4 s, which a busy machine exceeds: the
run of a promoted canary would end as failed [seconds]."""

OUTPUTS = {
    "stream": ("name", "text"),
    "display_data": ("data", "metadata"),
    "execute_result": ("data", "execution_count", "metadata"),
    "error": ("ename", "evalue", "traceback"),
}
"""The fields of each kind of output, in notebooks and in messages. Source: the notebook format 4.5."""

# it warns of each parameter outside the notebook's cell of ten lines; all of them were validated before
logging.getLogger("papermill").setLevel(logging.ERROR)


def execute(notebook: Path, parameters: Mapping[str, Any], watch: Watch) -> None:
    """Execute a notebook into the run's folder; raise what its first failing cell raised."""
    file = NotebookFile(watch.folder / NOTEBOOK, watch.secrets.drain)
    papermill_io.register(f"{SCHEME}{watch.folder}", file)
    try:
        papermill.execute_notebook(
            str(notebook),
            f"{SCHEME}{watch.folder / NOTEBOOK}",
            parameters=dict(parameters),
            engine_name=NAME,
            request_save_on_cell_execute=False,  # the engine saves instead
            progress_bar=False,
            watch=watch,
            file=file,
        )
    finally:
        papermill_io.get_handler("local").cwd(None)  # two runs at once would each restore the other's folder
        ensure_event_loop().close()  # nbclient makes one for this thread and leaves it open


class ExecutionState(NotebookExecutionManager):  # type: ignore[misc]
    """How far the execution is; saved when a code cell starts, and when one ends that no other follows at once.

    Prose is not executed, and what a cell has printed is saved with the start of the next one. The last save of a
    notebook that ran to its end is papermill's own.
    """

    def __init__(self, notebook: NotebookNode, file: NotebookFile) -> None:
        super().__init__(notebook, progress_bar=False)
        self._file = file
        self._last = next((cell for cell in reversed(notebook.cells) if cell.cell_type == "code"), None)
        self._saves = True

    def save(self, **_: Any) -> None:
        """Save the notebook, unless it will be at once."""
        if self._saves:
            self._file.save(self.nb)
            self.last_save_time = self.now()

    def cell_start(self, cell: NotebookNode, *args: Any, **kwargs: Any) -> None:
        """Note that a cell starts."""
        self._saves = cell.cell_type == "code"
        super().cell_start(cell, *args, **kwargs)
        self._saves = True

    def cell_complete(self, cell: NotebookNode, *_: Any, **__: Any) -> None:
        """Note that a cell has ended, as papermill does; its dateutil takes a millisecond to read one time."""
        noted, ended = cell.metadata.papermill, self.now()
        noted["end_time"] = ended.isoformat()
        if noted.get("start_time"):
            noted["duration"] = (ended - datetime.fromisoformat(noted["start_time"])).total_seconds()
        if noted["status"] != self.FAILED:
            noted["status"] = self.COMPLETED
        if cell.cell_type == "code" and (cell is self._last or noted["exception"] or _is_raising()):
            self.save()

    def notebook_complete(self, **kwargs: Any) -> None:
        """Note that the notebook has ended, whatever passes."""
        self._saves = _is_raising()
        super().notebook_complete(**kwargs)

    def mark_unfinished(self) -> None:
        """Mark the last started cell as failed; it was marked as completed."""
        started = [cell for cell in self.nb.cells if cell.metadata.get("papermill", {}).get("start_time")]
        if started:
            started[-1].metadata.papermill["status"] = self.FAILED
            started[-1].metadata.papermill["exception"] = True
        self.nb.metadata.papermill["exception"] = True


def _is_raising() -> bool:
    """Return whether this is called while an exception passes, by its `finally`."""
    return sys.exc_info()[0] is not None


class WatchedEngine(Engine):  # type: ignore[misc]
    """Executes a notebook in a kernel that is connected by sockets in a private folder."""

    @classmethod
    def execute_notebook(
        cls, nb: NotebookNode, kernel_name: str, *, watch: Watch, file: NotebookFile, **_: Any
    ) -> NotebookNode:
        """Execute every cell, and save the notebook meanwhile."""
        nb.metadata.papermill.output_path = str(watch.folder / NOTEBOOK)
        state = ExecutionState(nb, file)
        state.notebook_start()
        try:
            cls.execute_managed_notebook(state, kernel_name, watch=watch)
        finally:
            state.notebook_complete()
        return state.nb

    @classmethod
    def execute_managed_notebook(cls, nb_man: ExecutionState, kernel_name: str, *, watch: Watch) -> None:
        """Execute every cell; mark what was not finished as failed."""
        with tempfile.TemporaryDirectory(prefix="opslib-") as sockets:
            ipc = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
            watch.client = WatchedClient(
                nb_man,
                watch,
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
                nb_man.mark_unfinished()
                raise


papermill_engines.register(NAME, WatchedEngine)


class WatchedClient(PapermillNotebookClient):  # type: ignore[misc]
    """papermill's client, which forks its kernel and executes no cell of a run that was stopped."""

    def __init__(self, nb_man: Any, watch: Watch, **traits: Any) -> None:
        super().__init__(nb_man, **traits)
        self._watch = watch

    def create_kernel_manager(self) -> Any:
        """Return the manager of a kernel that the fork server starts."""
        manager = super().create_kernel_manager()
        manager.kernel_spec_manager.kernel_dirs = _kernel_folders()
        manager.kernel_spec.metadata["kernel_provisioner"] = {"provisioner_name": PROVISIONER}
        manager.client_factory = PromptClient
        self._watch.kernel = manager.kernel_spec.display_name
        # the installed name: JupyterLab would otherwise correct it and alter the file
        self.nb.metadata.kernelspec.display_name = self._watch.kernel
        return manager

    def output(
        self, outs: list[NotebookNode], msg: Mapping[str, Any], display_id: str | None, cell_index: int
    ) -> NotebookNode | None:
        """Append an output to a cell's. nbclient's validates each: 2 ms; the last save validates all of them."""
        fields = OUTPUTS.get(msg["msg_type"])
        replaced = display_id or self.clear_before_next_output or any(self.output_hook_stack.values())
        if fields is None or replaced:
            return super().output(outs, msg, display_id, cell_index)
        output = NotebookNode(output_type=msg["msg_type"])
        output.update({name: msg["content"][name] for name in fields})
        outs.append(output)
        return output

    def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
        """Execute a cell, and keep its outputs as plain text."""
        if self._watch.stop_reason:
            raise InterruptedError(self._watch.stop_reason)
        try:
            return super().execute_cell(cell, cell_index, **kwargs)
        finally:
            if "outputs" in cell:
                cell["outputs"] = merge_streams(cell["outputs"])
                remove_colours(cell["outputs"])


def _kernel_folders() -> list[str]:
    """Return where Jupyter searches for kernels; its own default imports IPython to find the last of them."""
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
