"""papermill's only door: execute a runbook, watch its kernel, and say truly how it ended.

papermill alone calls a notebook completed whose kernel was killed, whose cell ran `sys.exit(0)`, or that was
interrupted. Here a run is a success only if every cell ran, nothing raised, and the run's own record says so.
"""

import hashlib
import json
import os
import signal
import sqlite3
import sys
import tempfile
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from time import monotonic
from types import FrameType
from typing import Any

from opslib import errors
from opslib.change.recover import recover
from opslib.change.run import FOLDER_VARIABLE, new_record
from opslib.errors import ParameterError
from opslib.evidence.archive import new_folder
from opslib.evidence.channel import SecretsPipe, masked_log, secrets_pipe
from opslib.evidence.custody import archive_of, begin_run, end_run
from opslib.evidence.index import Query, find
from opslib.evidence.journal import NAME as JOURNAL
from opslib.evidence.keys import SIGNING_VARIABLES, SigningKey, find_signing_key
from opslib.evidence.notebook import NAME as NOTEBOOK
from opslib.evidence.notebook import SCHEME, NotebookFile, failing_cell, merge_streams
from opslib.evidence.provenance import find_commit
from opslib.evidence.record import Record, Request, read_record
from opslib.evidence.redact import PIPE_VARIABLE
from opslib.model import Outcome
from opslib.parameters import RUNBOOKS, RunbookParameters
from opslib.quicken import skip_iri_checks

KERNEL_LOG = "kernel.log"

GRACE_S = 120.0
"""How long an interrupted kernel may take to undo what it did, before it is killed [seconds]."""

Event = Mapping[str, Any]


def find_notebook(runbook: str) -> Path:
    """Find a runbook's notebook: in this folder's ``notebooks/`` or above, else where opslib was installed from."""
    here = Path.cwd()
    folders = [f / "notebooks" for f in (here, *here.parents)]
    folders += [Path(__file__).parent.parent / "notebooks", Path(sys.prefix) / "share" / "opslib" / "notebooks"]
    path = next((f / f"{runbook}.ipynb" for f in folders if (f / f"{runbook}.ipynb").is_file()), None)
    if path is None:
        raise ParameterError(f"there is no notebook for {runbook!r}: expected one of {', '.join(sorted(RUNBOOKS))}")
    return path


def execute(
    runbook: str,
    given: Mapping[str, Any],
    archive: Path,
    timeout_s: float | None = None,
    on_event: Callable[[Event], None] = lambda _: None,
    request: Request | None = None,
) -> tuple[Path, Record]:
    """Execute a runbook and leave one folder of evidence.

    Parameters
    ----------
    runbook
        Name of the notebook.
    given
        Parameters by name; text is read as YAML where text is not what is meant.
    archive
        Folder of all runs.
    timeout_s
        Longest time from start to end; then the kernel is interrupted, undoes its work, and the run is aborted
        [seconds]. None waits for ever.
    on_event
        Called with every line of the run's journal as it appears.
    request
        The change as the organisation knows it: ticket, requester, approvals.

    Returns
    -------
    folder, record
        Where the evidence is, and how the run ended.

    Raises
    ------
    ParameterError
        Before anything is started, if there is no such runbook or a parameter is wrong.
    RecordError
        If the evidence cannot be written; what was begun has then been taken back all the same.
    """
    if runbook not in RUNBOOKS:
        raise ParameterError(f"there is no runbook {runbook!r}: expected one of {', '.join(sorted(RUNBOOKS))}")
    parameters = RUNBOOKS[runbook].check(given)
    notebook = find_notebook(runbook)
    key = _signing_key()
    folder = new_folder(archive, runbook, parameters.endpoint)
    begin_run(folder, _first_record(parameters, folder, notebook, request or Request()))
    with secrets_pipe() as secrets:
        watch = _Watch(folder, archive, timeout_s, on_event, secrets)
        error = _execute(notebook, _wanted(parameters, given), watch)
    record = _last_record(folder, watch, error)
    sealed = end_run(folder, record, key)
    if sealed.notice:
        on_event({"event": "progress", "at": datetime.now(UTC).isoformat(), "data": sealed.notice})
    return folder, sealed.record


def _signing_key() -> SigningKey:
    """Find the key before anything begins: a run that nobody could seal is refused."""
    try:
        return find_signing_key()
    except errors.RecordError as error:
        raise ParameterError(f"the run was not begun, since nobody could seal it: {error}") from error


def _previous_run(archive: Path, endpoint: str) -> str:
    """The run before this one on the endpoint; none where the archive cannot say, which must stop nobody."""
    try:
        rows, _ = find(archive, Query(endpoint=endpoint, limit=1))
    except (errors.OpsError, OSError, sqlite3.Error):
        return ""
    return rows[0].run if rows else ""


def _first_record(parameters: RunbookParameters, folder: Path, notebook: Path, request: Request) -> Record:
    """What is known before the first cell."""
    commit, dirty = find_commit(notebook)
    return replace(
        new_record(parameters, folder),
        notebook_sha256=hashlib.sha256(notebook.read_bytes()).hexdigest(),
        commit=commit,
        dirty=dirty,
        rollback={"previous_run": _previous_run(archive_of(folder), parameters.endpoint)},
        **asdict(request) | {"approvals": request.approvals},
    )


def _last_record(folder: Path, watch: "_Watch", error: BaseException | None) -> Record:
    """Decide how it ended, take back what a dead kernel could not, and complete the record."""
    outcome, reason = _how_it_ended(folder, watch, error)
    if outcome in {Outcome.ABORTED, Outcome.FAILED}:
        reason = f"{reason}. {_recover(folder)}".removesuffix(". ")
    record = read_record(folder)
    if (record.outcome, record.reason) != (outcome, reason) or record.finished_at is None:
        record = record.ended(outcome, reason)
    broken = outcome in {Outcome.ABORTED, Outcome.FAILED, Outcome.REFUSED}
    return replace(record, kernel=watch.kernel, failing_cell=failing_cell(folder / NOTEBOOK) if broken else "")


@dataclass
class _Watch:
    """What the watching thread and the executing thread share."""

    folder: Path
    archive: Path
    timeout_s: float | None
    on_event: Callable[[Event], None]
    secrets: SecretsPipe
    kernel: str = ""
    stop_reason: str = ""
    client: Any = None
    _read: int = 0
    begun_s: float = field(default_factory=monotonic)

    def stop(self, reason: str) -> None:
        """Interrupt the kernel once: the cell's own undo runs; a second interrupt would break that."""
        if self.stop_reason:
            return
        self.stop_reason = reason
        self.signal_kernel(signal.SIGINT)

    def signal_kernel(self, signum: signal.Signals) -> None:
        provisioner = getattr(getattr(self.client, "km", None), "provisioner", None)
        pid = getattr(provisioner, "pid", None)
        if pid:
            os.kill(pid, signum)

    def read_events(self) -> None:
        """Hand on the journal's new lines."""
        path = self.folder / JOURNAL
        if not path.exists():
            return
        with path.open("rb") as file:
            file.seek(self._read)
            for line in file:
                if not line.endswith(b"\n"):
                    break
                self._read += len(line)
                self.on_event(json.loads(line))


def _wanted(parameters: RunbookParameters, given: Mapping[str, Any]) -> dict[str, Any]:
    """The given parameters as they were understood."""
    understood = parameters.model_dump()
    return {name: understood[name] for name in given}


def _execute(notebook: Path, parameters: Mapping[str, Any], watch: _Watch) -> BaseException | None:
    """Execute in a thread; this one keeps the clock, the signals, and the journal's reader."""
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
            if watch.timeout_s is not None and now_s - watch.begun_s > watch.timeout_s:
                watch.stop(f"it did not end within {watch.timeout_s:g} s")
            if watch.stop_reason:
                stopped_s = stopped_s or now_s
                if now_s - stopped_s > GRACE_S:
                    watch.signal_kernel(signal.SIGKILL)
        watch.read_events()
    return raised[0] if raised else None


@contextmanager
def _signals(watch: _Watch) -> Iterator[None]:
    """Turn SIGTERM and Ctrl-C into an orderly stop; papermill would leave the kernel to die without its undo."""

    def handle(signum: int, _: FrameType | None) -> None:
        watch.stop(f"it was stopped by {signal.Signals(signum).name}")

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = {signum: signal.signal(signum, handle) for signum in (signal.SIGTERM, signal.SIGINT)}
    try:
        yield
    finally:
        for signum, handler in before.items():
            signal.signal(signum, handler)


def _papermill(notebook: Path, parameters: Mapping[str, Any], watch: _Watch) -> None:
    """Run papermill with an engine that tells the truth about cells that did not end."""
    skip_iri_checks()
    import papermill  # noqa: PLC0415 - takes a second
    from jupyter_core.utils import ensure_event_loop  # noqa: PLC0415
    from papermill.clientwrap import PapermillNotebookClient  # noqa: PLC0415
    from papermill.engines import Engine, papermill_engines  # noqa: PLC0415
    from papermill.iorw import papermill_io  # noqa: PLC0415
    from traitlets.config import Config  # noqa: PLC0415

    class Client(PapermillNotebookClient):  # type: ignore[misc]
        def execute_cell(self, cell: Any, cell_index: int, **kwargs: Any) -> Any:
            if watch.stop_reason:
                raise InterruptedError(watch.stop_reason)
            try:
                return super().execute_cell(cell, cell_index, **kwargs)
            finally:
                cell["outputs"] = merge_streams(cell.get("outputs", []))

    class WatchedEngine(Engine):  # type: ignore[misc]
        @classmethod
        def execute_managed_notebook(cls, nb_man: Any, kernel_name: str, **_: Any) -> None:
            with tempfile.TemporaryDirectory(prefix="opslib-") as sockets:
                ipc = Config({"KernelManager": {"transport": "ipc", "ip": f"{sockets}/kernel"}})
                _name_kernel(nb_man.nb, kernel_name, watch)
                watch.client = Client(
                    nb_man,
                    kernel_name=kernel_name,
                    startup_timeout=60,
                    timeout=None,
                    config=ipc,
                )
                try:
                    with masked_log(watch.folder / KERNEL_LOG, watch.secrets) as log:
                        watch.client.execute(env=_environment(watch), stdout=log, stderr=log)
                except BaseException:
                    _mark_unfinished(nb_man)
                    raise

    papermill_engines.register("opslib", WatchedEngine)
    papermill_io.register(SCHEME, NotebookFile(watch.secrets.drain))
    try:
        papermill.execute_notebook(
            str(notebook),
            f"{SCHEME}{watch.folder / NOTEBOOK}",
            parameters=dict(parameters),
            engine_name="opslib",
            progress_bar=False,
        )
    finally:
        ensure_event_loop().close()  # nbclient makes one for this thread and leaves it open


def _name_kernel(notebook: Any, kernel_name: str, watch: _Watch) -> None:
    """Name the kernel as it is installed: a viewer that finds another name alters the file."""
    from jupyter_client.kernelspec import get_kernel_spec  # noqa: PLC0415 - papermill has imported it

    watch.kernel = get_kernel_spec(kernel_name).display_name
    notebook.metadata.kernelspec.display_name = watch.kernel
    notebook.metadata.papermill.output_path = str(watch.folder / NOTEBOOK)


def _environment(watch: _Watch) -> dict[str, str]:
    """The kernel's environment: ours without the signing key, and where the evidence goes."""
    ours = {name: value for name, value in os.environ.items() if name not in SIGNING_VARIABLES}
    return ours | {
        FOLDER_VARIABLE: str(watch.folder),
        PIPE_VARIABLE: str(watch.secrets.path),
        "OPSLIB_RUNS": str(watch.archive.resolve()),
        "PYDEVD_DISABLE_FILE_VALIDATION": "1",
    }


def _mark_unfinished(nb_man: Any) -> None:
    """Mark the cell that did not end as failed; papermill has just called it completed."""
    started = [cell for cell in nb_man.nb.cells if cell.metadata.get("papermill", {}).get("start_time")]
    if started:
        started[-1].metadata.papermill["status"] = nb_man.FAILED
        started[-1].metadata.papermill["exception"] = True
    nb_man.nb.metadata.papermill["exception"] = True


def _recover(folder: Path) -> str:
    """Take back what a dead kernel could not; say so, or say loudly that somebody must."""
    try:
        return recover(folder)
    except errors.OpsError as error:
        return f"IT COULD NOT BE UNDONE, look at the endpoint now: {error}"


def _how_it_ended(folder: Path, watch: _Watch, error: BaseException | None) -> tuple[Outcome, str]:
    """Fold what is known of the end: the worst news wins."""
    record = read_record(folder)
    if watch.stop_reason:
        return Outcome.ABORTED, watch.stop_reason
    if error is not None:
        name = str(getattr(error, "ename", type(error).__name__))
        if name == "OutcomeError" and record.outcome is not None and not record.outcome.good:
            return record.outcome, record.reason
        return _outcome_of(name), f"{name}: {getattr(error, 'evalue', error)}"
    unrun = _cells_not_run(folder / NOTEBOOK)
    if unrun:
        why = f" ({record.reason})" if record.reason else ""
        return Outcome.FAILED, f"the notebook stopped early: {unrun} of its cells did not run{why}"
    if record.outcome is None or record.finished_at is None:
        return Outcome.FAILED, "the notebook ended without recording an outcome"
    return record.outcome, record.reason


def _outcome_of(name: str) -> Outcome:
    """Say how a run ended whose notebook raised an error of that name."""
    if name in {"DeadKernelError", "KeyboardInterrupt"}:
        return Outcome.ABORTED
    kind = getattr(errors, name, None)
    refused = isinstance(kind, type) and issubclass(kind, errors.OpsError) and kind.refused
    return Outcome.REFUSED if refused else Outcome.FAILED


def _cells_not_run(notebook: Path) -> int:
    """Count code cells without an execution count, or with one but an error among the outputs."""
    cells = json.loads(notebook.read_text(encoding="utf-8"))["cells"]
    code = [cell for cell in cells if cell["cell_type"] == "code" and "".join(cell["source"]).strip()]
    return sum(
        cell.get("execution_count") is None or any(o["output_type"] == "error" for o in cell["outputs"])
        for cell in code
    )
