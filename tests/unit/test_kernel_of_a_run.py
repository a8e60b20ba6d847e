"""What a run's kernel and its client leave out, compared with what IPython and nbclient do."""

import inspect
import os
import re
import signal
import sys
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import nbformat
import pytest
from awaiting import wait_until
from ipykernel.iostream import OutStream
from IPython.core import shellapp
from jupyter_client.manager import KernelManager

from opslib.evidence.run.notebook import NotebookFile
from opslib.import_shims import skip_module_lists
from opslib.redaction import redact
from opslib.runner import kernel_launcher
from opslib.runner.kernel_app import CONNECTION_FILE, HISTORY_IN_MEMORY, PromptStream, RunKernelApp
from opslib.runner.papermill_engine import OUTPUTS, ExecutionState, WatchedClient

CONTENTS: dict[str, dict[str, Any]] = {
    "stream": {"name": "stderr", "text": "warming up"},
    "display_data": {"data": {"text/plain": "a"}, "metadata": {"scrapbook": {"name": "a"}}, "transient": {}},
    "execute_result": {"data": {"text/html": "<b>a</b>"}, "metadata": {}, "execution_count": 3},
    "error": {"ename": "ValueError", "evalue": "no", "traceback": ["line 1"], "status": "error"},
}


@pytest.mark.parametrize("kind", OUTPUTS)
def test_an_output_is_what_nbformat_makes_of_the_message(kind):
    watch: Any = SimpleNamespace()
    client = WatchedClient(SimpleNamespace(nb=nbformat.v4.new_notebook()), watch)
    client.clear_before_next_output = False  # as at the start of a cell
    message = {
        "msg_type": kind,
        "header": {"msg_type": kind},
        "parent_header": {"msg_id": "1"},
        "content": CONTENTS[kind],
    }
    outputs: list[nbformat.NotebookNode] = []
    client.output(outputs, message, None, 0)
    assert outputs == [nbformat.v4.output_from_msg(message)]
    assert isinstance(outputs[0].get("data", outputs[0]), nbformat.NotebookNode)


def test_options_of_a_kernel_are_those_that_its_owner_gives(tmp_path):
    """Without argparse for the usual ones, with it for any other."""
    file = str(tmp_path / "kernel.json")
    for options, quiet in (([], True), ([HISTORY_IN_MEMORY], True), (["--IPKernelApp.quiet=False"], False)):
        app = RunKernelApp()
        app.parse_command_line(["-f", file, *options])
        assert (app.connection_file, app.quiet, app.config.HistoryManager.enabled) == (file, quiet, False)


def test_ipython_still_lists_the_modules_that_it_is_kept_from_listing():
    """If a later one does not, `skip_module_lists` and the kernel's `init_code` can go."""
    assert "self.shell._sys_modules_keys = set(sys.modules.keys())" in inspect.getsource(shellapp)
    try:
        skip_module_lists()
        replaced: Any = shellapp.sys
        replaced.opslib_marker = 1
        assert (replaced.modules, replaced.path, sys.opslib_marker) == ({}, sys.path, 1)  # type: ignore[attr-defined]
    finally:
        for name in ("ipykernel.ipkernel", "IPython.core.shellapp"):
            sys.modules[name].sys = sys  # type: ignore[attr-defined]
        del sys.opslib_marker  # type: ignore[attr-defined]


def test_a_notebook_is_saved_with_its_cells_masked_and_when_its_state_changes(tmp_path):
    """Each cell by itself, also those that were saved before a secret was known; prose is no reason to save."""
    redact.redactor.cache_clear()
    saved: list[int] = []
    notebook = nbformat.v4.new_notebook(
        metadata={"papermill": {"parameters": {"reason": "hunter2hunter2"}}},
        cells=[
            nbformat.v4.new_markdown_cell("Prose", metadata={"papermill": {}}),
            nbformat.v4.new_code_cell("'hunter2hunter2'", metadata={"papermill": {}}),
        ],
    )
    path = tmp_path / "notebook.ipynb"
    file = NotebookFile(path, lambda: saved.append(1))
    state = ExecutionState(notebook, file)
    state.notebook_start()
    assert "hunter2hunter2" in path.read_text()
    redact.register("hunter2hunter2")
    for index, cell in enumerate(notebook.cells):
        state.cell_start(cell, index)
        state.cell_complete(cell, cell_index=index)
    assert len(saved) == 3  # at the beginning, at the start and at the end of the code
    assert "hunter2hunter2" not in path.read_text()
    read = nbformat.read(path, as_version=4)
    assert [cell.metadata.papermill["status"] for cell in read.cells] == ["completed", "completed"]
    assert 0 <= read.cells[1].metadata.papermill["duration"] < 60
    redact.redactor.cache_clear()


def test_a_stream_is_flushed_if_something_was_written(monkeypatch):
    flushed: list[str] = []
    monkeypatch.setattr(OutStream, "__init__", lambda _: None)
    monkeypatch.setattr(OutStream, "write", lambda _, text: len(text))
    monkeypatch.setattr(OutStream, "flush", lambda _: flushed.append("flush"))
    stream = PromptStream()  # type: ignore[call-arg]
    stream.flush()
    assert (stream.write("a"), stream.write("b")) == (1, 1)
    for _ in range(3):
        stream.flush()
    assert flushed == ["flush"]


CELLS = (
    "import sys\nprint('a')\nprint('b', file=sys.stderr)\nprint('c', end='')\nsys.stdout.write('d\\n')",
    "handle = display('one', display_id='x')\nhandle.update('two')",
    "from IPython.display import clear_output\nprint(1)\nclear_output(wait=True)\nprint(2)",
    "import threading\none = threading.Thread(target=print, args=('in a thread',))\none.start()\none.join()",
    "captured = !echo captured\ncaptured",
    "%%bash\necho in bash",
    "import matplotlib.pyplot as plt\nplt.plot([1, 2])\nplt.show()",
    "plt.plot([3, 4]);",
    "import ipywidgets\nwith ipywidgets.Output() as output:\n    print('in a widget')\noutput",
    "import asyncio\nasync def seven():\n    return 7\nawait seven()",
    "await asyncio.get_running_loop().create_task(seven())",
    "import warnings\nwarnings.warn('careful')",
    "from multiprocessing import Pool\nwith Pool(1) as pool:\n    print(pool.map(abs, [-3]))",
    "input('?')",
    "_ = 5\nIn[1][:6], Out.get(10)",
    "%history -n 1",
    "%%capture kept\nprint('kept')",
    "kept.stdout",
    "%reset -f\n'kept' in dir()",
    "1 / 0",
    "def broken(:",
    "class Shown:\n    def _repr_html_(self):\n        return '<b>shown</b>'\nShown()",
    "exit",
)
"""A cell of each kind that a person's own notebook may have."""

IPYTHONS = "from ipykernel.kernelapp import launch_new_instance\nlaunch_new_instance()"

DIFFERS = r"[0-9a-f]{8}-[0-9a-f]{24}_\d+_\d+|0x[0-9a-f]+|[0-9a-f]{32}|ipykernel_\d+/\d+|<Figure[^>]*>"
"""What differs between two kernels in any case."""

STARTED_UNDER_AN_INTERRUPT = """
import os, signal, sys
from opslib.runner import kernel_app
begin = kernel_app.RunKernelApp.init_heartbeat
def begin_interrupted(app):
    os.kill(os.getpid(), signal.SIGINT)
    begin(app)
kernel_app.RunKernelApp.init_heartbeat = begin_interrupted
kernel_app.main(int(sys.argv[1]), sys.argv[2:])
"""


@contextmanager
def run_kernel(folder, *launcher):
    """A kernel in a process of its own, and a client of it."""
    manager = KernelManager(transport="ipc", ip=str(folder / "kernel"))
    manager.kernel_spec.argv = [sys.executable, *launcher, str(os.getpid()), CONNECTION_FILE, "{connection_file}"]
    manager.start_kernel()
    client = manager.blocking_client()
    client.start_channels()
    try:
        client.wait_for_ready(timeout=60)
        yield manager, client
    finally:
        client.stop_channels()
        manager.shutdown_kernel(now=True)


@pytest.fixture
def kernel(tmp_path):
    """A kernel as a run has it."""
    with run_kernel(tmp_path, "-m", kernel_launcher.__name__) as started:
        yield started


def execute(client, code):
    """Execute a cell; return the name of its error, empty without one, and what it printed."""
    printed: list[str] = []
    reply = client.execute_interactive(
        code,
        timeout=60,
        allow_stdin=False,
        output_hook=lambda message: printed.append(message["content"].get("text", "")),
    )
    return reply["content"].get("ename", ""), "".join(printed)


def is_interrupted(pid):
    """Whether a process handles SIGINT, and has none that it was not given yet."""
    fields = dict(
        line.split(":", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines() if ":" in line
    )
    bit = 1 << (signal.SIGINT - 1)
    return not any(int(fields[name], 16) & bit for name in ("SigPnd", "ShdPnd", "SigIgn"))


@pytest.mark.parametrize("code", ["print('executed')", "import asyncio\nawait asyncio.sleep(0)\nprint('executed')"])
def test_an_interrupt_between_two_cells_interrupts_the_next_one(kernel, code):
    """IPython ignores it: a run that was stopped at that moment would go on."""
    manager, client = kernel
    pid = manager.provisioner.pid
    assert execute(client, "a = 1") == ("", "")
    os.kill(pid, signal.SIGINT)
    wait_until(lambda: is_interrupted(pid))
    assert execute(client, code) == ("KeyboardInterrupt", "")
    assert execute(client, code) == ("", "executed\n")


def outputs_of(client, code):
    """What a notebook shows of a cell, with the text of each stream in one piece."""
    texts: dict[str, str] = {}
    shown: list[Any] = []

    def take(message):
        content = message["content"]
        if message["msg_type"] == "stream":
            texts[content["name"]] = texts.get(content["name"], "") + content["text"]
        elif message["msg_type"] not in {"status", "execute_input"}:
            data = {kind: "PNG" if kind == "image/png" else text for kind, text in content.get("data", {}).items()}
            shown.append((message["msg_type"], data or content.get("ename")))

    client.execute_interactive(code, timeout=60, allow_stdin=False, output_hook=take)
    return re.sub(DIFFERS, "", repr((texts, shown)))


def test_cells_of_every_kind_show_what_they_show_in_ipythons_own_kernel(kernel, tmp_path):
    """The kernel of a run leaves out what they do not need."""
    _, client = kernel
    (tmp_path / "own").mkdir()
    with run_kernel(tmp_path / "own", "-c", "import sys; sys.argv.pop(1)\n" + IPYTHONS) as (_, own):
        for code in CELLS:
            assert outputs_of(client, code) == outputs_of(own, code), code


def test_an_interrupt_while_the_kernel_starts_does_not_break_it(tmp_path):
    """Half a kernel waited at its exit, and its runner for it; a run that was stopped executes no cell."""
    with run_kernel(tmp_path, "-c", STARTED_UNDER_AN_INTERRUPT) as (_, client):
        assert execute(client, "print('executed')") == ("", "executed\n")


def test_a_cell_may_await_and_an_interrupt_ends_what_it_awaits(kernel):
    """As in JupyterLab; the kernel answers, whatever a cell is."""
    _, client = kernel
    assert execute(client, "import asyncio, os, signal\nawait asyncio.sleep(0)\nprint('awaited')") == (
        "",
        "awaited\n",
    )
    stop = "asyncio.get_running_loop().call_soon(os.kill, os.getpid(), signal.SIGINT)"
    assert execute(client, f"{stop}\nawait asyncio.sleep(60)\nprint('executed')") == ("CancelledError", "")


def test_an_interrupt_reaches_the_statement_that_is_executed(kernel):
    """Also the second one of a cell, after a statement that ended."""
    _, client = kernel
    code = "import os, signal\nprint('before')\nos.kill(os.getpid(), signal.SIGINT)\nprint('after')"
    assert execute(client, code) == ("KeyboardInterrupt", "before\n")


def test_an_interrupt_while_a_cell_is_prepared_interrupts_it(kernel):
    """IPython's kernel would give no answer, for which the runner waits."""
    _, client = kernel
    hook = "lambda _: os.kill(os.getpid(), signal.SIGINT)"
    assert execute(client, f"import os, signal\nget_ipython().events.register('pre_run_cell', {hook})")[0] == ""
    assert execute(client, "print('executed')") == ("KeyboardInterrupt", "")
