"""The kernel of a run: IPython's own, without what only a person at a prompt or a notebook's widgets would use."""

import logging
import signal
import sys
import threading
from collections.abc import Sequence
from typing import Any

from ipykernel.iostream import OutStream
from ipykernel.ipkernel import IPythonKernel
from ipykernel.kernelapp import IPKernelApp
from ipykernel.zmqshell import ZMQInteractiveShell
from traitlets import Type
from traitlets.config import Config

CONNECTION_FILE = "-f"
"""Option before the path of the file that names a kernel's sockets."""

HISTORY_IN_MEMORY = "--HistoryManager.hist_file=:memory:"
"""What nbclient adds, so that no cell of a run is kept in the user's own history."""

LOG = logging.getLogger("IPKernelApp")
"""What a kernel reports on stderr. It is configured here, in the process that forks: to change a level has Python
touch every logger, 10 ms in a fork."""

LOG.setLevel(logging.WARNING)
LOG.propagate = False


class PromptStream(OutStream):
    """A kernel's stdout or stderr, which has the thread that sends outputs flush it if anything was written.

    A kernel flushes both six times in each cell, most of which print nothing; each time it awaited that thread.
    """

    _written = False

    def write(self, string: str) -> int | None:  # type: ignore[override]
        """Write a text to what the next flush sends."""
        written = super().write(string)
        self._written = True
        return written

    def flush(self) -> None:
        """Have what was written since the last flush sent, and wait for it."""
        if self._written:
            self._written = False
            super().flush()  # type: ignore[no-untyped-call]


_INTERRUPTED = compile("raise KeyboardInterrupt", "<interrupt>", "exec")


class RunShell(ZMQInteractiveShell):
    """IPython's shell, in which an interrupt that comes while no statement is executed interrupts the next one.

    IPython's kernel ignores one between two cells, and gives no answer for a cell that it was about to execute. The
    runner interrupts a run once: a run that was stopped at such a moment would go on until it was killed.
    """

    _interrupted = False

    def note_interrupt(self, *_: object) -> None:
        """Have the next statement interrupted: the handler of SIGINT while none is executed."""
        self._interrupted = True

    async def run_code(self, code_obj: Any, result: Any = None, *, async_: bool = False) -> Any:
        """Execute a statement; of one that awaits, IPython's kernel handles an interrupt."""
        if async_ and not self._interrupted:
            return await super().run_code(code_obj, result, async_=True)  # type: ignore[no-untyped-call]
        before = signal.getsignal(signal.SIGINT)
        try:
            signal.signal(signal.SIGINT, signal.default_int_handler)
            if self._interrupted:  # before that handler was set: one that comes from now on is raised
                self._interrupted, code_obj = False, _INTERRUPTED
            return await super().run_code(code_obj, result)  # type: ignore[no-untyped-call]
        finally:
            signal.signal(signal.SIGINT, before)


class NoSubshells:
    """What a kernel without subshells has in place of the thread that hands messages to them: it is false.

    For a cell that awaits, IPython's kernel reads from it which thread executes cells.
    """

    def __init__(self) -> None:
        self.parent_thread = threading.main_thread()

    def __bool__(self) -> bool:
        return False


class RunKernel(IPythonKernel):
    """IPython's kernel without subshells, with the handlers of SIGINT of its shell."""

    shell_class = Type(RunShell)
    _supports_kernel_subshells = False

    def pre_handler_hook(self) -> None:
        """Leave the handler as it is: a message is no statement yet."""

    def post_handler_hook(self) -> None:
        """Leave the handler as it is."""


class RunKernelApp(IPKernelApp):
    """IPython's kernel application for the cells of one notebook, which one client sends one after the other."""

    kernel_class = Type(RunKernel)

    def parse_command_line(self, argv: Sequence[str] | None = None) -> None:
        """Take the connection file; other options are left to argparse, for which traitlets makes one per trait."""
        given = list(argv or ())
        settings: dict[str, Any] = {"HistoryManager": {"enabled": False}}  # no database and no thread for it
        options = [one for one in given if one != HISTORY_IN_MEMORY]
        if options[:-1] == [CONNECTION_FILE]:
            settings["IPKernelApp"] = {"connection_file": options[-1]}
        else:
            super().parse_command_line(given)
        self.update_config(Config(settings))

    def init_control(self, context: Any) -> None:
        """Open the control channel, without the thread that hands each message to its subshell."""
        super().init_control(context)  # type: ignore[no-untyped-call]
        self.shell_channel_thread = NoSubshells()

    def init_kernel(self) -> None:
        """Make the kernel; before that an interrupt is ignored, and the runner sends it no cell."""
        super().init_kernel()  # type: ignore[no-untyped-call]
        signal.signal(signal.SIGINT, self.kernel.shell.note_interrupt)

    def init_code(self) -> None:
        """Run what the user's configuration has run first."""
        super().init_code()  # type: ignore[no-untyped-call]
        vars(self.shell).pop("_sys_modules_keys", None)  # empty: `%reset aggressive` would forget every module

    def start(self) -> None:
        """Execute cells until a shutdown; then let the control thread end, which awaits the outputs it has sent.

        At its exit, Python first stops the thread that sends them; the other would wait for it until it is killed.
        """
        try:
            super().start()  # type: ignore[no-untyped-call]
        finally:
            self.control_thread.stop()
            self.control_thread.join()


def main(parent: int, options: Sequence[str]) -> None:
    """Be the kernel of a run, until it is shut down or its parent process has ended.

    Parameters
    ----------
    parent
        The process with which it ends.
    options
        The kernel's command line, without its launcher.
    """
    signal.signal(signal.SIGINT, signal.SIG_IGN)  # half a kernel would wait at its exit for a socket to be closed
    handler = logging.StreamHandler(sys.__stderr__)
    handler.setFormatter(logging.Formatter("[%(name)s] %(levelname)s | %(message)s"))  # as traitlets writes it
    LOG.addHandler(handler)
    stream = f"{PromptStream.__module__}.{PromptStream.__name__}"
    app = RunKernelApp.instance(parent_handle=parent, log=LOG, outstream_class=stream)
    app.initialize(list(options))  # type: ignore[no-untyped-call]
    app.start()
