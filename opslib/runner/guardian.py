"""The guardian of a canary run: a separate process that returns the traffic if the runner dies.

The runner starts it, detached, with a pipe that only the runner writes to. `DONE` on the pipe means that the
run has ended; end of file without it means that the runner died. From a runner that is stopped (Ctrl-Z,
SIGSTOP) neither arrives: if the journal is inactive for too long, the guardian returns the traffic, and the
runner seals the run when it resumes. Before the runner ends the run itself, it writes `ENDING` and waits for the
answer: its own undo writes no journal while Azure does not respond, and two undos at once would write into a run
that one of them has sealed.
"""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from select import select

from opslib.errors import PreflightError
from opslib.evidence.run.files import FOLDER_VARIABLE
from opslib.evidence.run.journal import Heartbeat
from opslib.evidence.run.run_lock import take_over
from opslib.runbooks.undo.restore_traffic import DEADLINE_S
from opslib.runner.ending import seal_dead_run, undo_if_interrupted
from opslib.runner.fork_server import ForkedProcess, fork_server
from opslib.runner.fork_serving import FOLDER_DESCRIPTOR

ENDING, DONE = b"ends", b"done"
READY = b"ready"

HANG_MARGIN_S = 10.0
"""How much longer than the runner the guardian waits for an inactive kernel [seconds]."""


@contextmanager
def guarded(folder: Path, hang_s: float) -> Iterator[Callable[[], None]]:
    """Run a guardian during the block; if the block raises, the guardian acts as if the runner had died.

    It yields what the runner calls before it ends the run: from then on the guardian acts only if the runner dies;
    if it is returning the traffic already, its end is awaited.

    Parameters
    ----------
    folder
        The run's folder.
    hang_s
        How long the kernel may be inactive [seconds].

    Raises
    ------
    PreflightError
        If it cannot be started; nothing was changed.
    """
    read_end, write_end = os.pipe()
    answers, answering = os.pipe()
    with os.fdopen(answers, "rb") as output, os.fdopen(write_end, "wb", buffering=0) as messages:

        def end() -> None:
            with suppress(BrokenPipeError):  # it has returned the traffic, or was killed
                messages.write(ENDING)
            select([output], [], [], DEADLINE_S)

        guardian = _start(folder, hang_s + HANG_MARGIN_S, read_end, answering)
        if output.read(len(READY)) != READY:
            guardian.kill()
            raise PreflightError(_NO_GUARDIAN)
        yield end
        with suppress(BrokenPipeError):
            messages.write(DONE)
    guardian.wait(30)


def _start(folder: Path, hang_s: float, messages: int, answering: int) -> ForkedProcess:
    """Start the guardian's process, which reads `messages` and writes to `answering`; both are closed here."""
    with Path(os.devnull).open("wb") as errors:
        try:
            return fork_server().start(
                "opslib.runner.guardian",
                [str(folder), str(hang_s)],
                environment=os.environ,
                folder=str(Path.cwd()),
                streams=(messages, answering, errors.fileno()),
            )
        except OSError as error:
            raise PreflightError(f"{_NO_GUARDIAN}: {error}") from error
        finally:
            os.close(messages)
            os.close(answering)


_NO_GUARDIAN = (
    "no guardian could be started, which would return the traffic if this process dies. Nothing was changed"
)


def guard(folder: Path, hang_s: float) -> None:
    """Wait for the end of the run; if the runner dies or stops, kill the kernel, undo, and seal the run."""
    message = _await_end(Heartbeat(folder), hang_s, sys.stdin.fileno(), sys.stdout.fileno())
    if message == DONE:
        return
    take_over(folder)
    end_kernel(folder)
    undone = undo_if_interrupted(folder)
    if message is None:
        return  # the runner is stopped, not dead: it holds the run and will seal it
    seal_dead_run(folder, "the runner died", undone)


def _await_end(heartbeat: Heartbeat, hang_s: float, messages: int, answers: int) -> bytes | None:
    """Return what the runner wrote last: empty if it died; None if the journal was inactive for too long."""
    while not select([messages], [], [], 1.0)[0]:
        if heartbeat.idle_s() > hang_s:
            return None
    message = os.read(messages, len(ENDING))
    if message == ENDING:
        os.write(answers, READY)
        message = os.read(messages, len(DONE))  # however long the end of the run takes
    return message


def end_kernel(folder: Path) -> None:
    """Kill all processes of a run's kernel.

    They are found by a variable in their environment, and the kernel itself by the run's folder, which it keeps
    open from its start as `FOLDER_DESCRIPTOR`: the environment that /proc shows of a fork is its fork server's.
    """
    marker, target = f"{FOLDER_VARIABLE}={folder}".encode(), str(folder.resolve())
    for process in filter(str.isdigit, os.listdir("/proc")):  # noqa: PTH208 - with pathlib it takes 0.1 s of every run
        with suppress(OSError):
            if _is_marked(process, marker) or _keeps_open(process, target):
                os.kill(int(process), signal.SIGKILL)


def _is_marked(process: str, marker: bytes) -> bool:
    """Return whether a process was started with a variable."""
    with open(f"/proc/{process}/environ", "rb") as variables:  # noqa: PTH123 - as above
        return marker in variables.read().split(b"\0")


def _keeps_open(process: str, folder: str) -> bool:
    """Return whether a process keeps a folder open as a fork of the fork server does."""
    return os.readlink(f"/proc/{process}/fd/{FOLDER_DESCRIPTOR}") == folder  # noqa: PTH115 - as above


def _main(folder: Path, hang_s: float) -> None:
    """Name this process after its run, for `top` and `ps -o comm`, and guard."""
    Path("/proc/self/comm").write_text(f"guard-{folder.name[-6:]}", encoding="utf-8")
    os.write(sys.stdout.fileno(), READY)
    guard(folder, hang_s)


if __name__ == "__main__":
    _main(Path(sys.argv[1]), float(sys.argv[2]))
