"""The guardian of a canary: a process of its own that outlives the runner and gives the traffic back in its place.

Started by the runner, detached. It reads a pipe that only the runner can write to: a word means that the run ended
in order, an end of file without it means that the runner died. A runner that was stopped (Ctrl-Z, SIGSTOP) does
neither and watches no kernel: if nobody has touched the journal for too long, the traffic is given back all the
same, and the runner seals the run when it goes on.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from select import select

from opslib.errors import OpsError, PreflightError
from opslib.evidence.finish import end_run
from opslib.evidence.run.journal import Heartbeat
from opslib.evidence.run.record import read_record
from opslib.evidence.run.run_lock import take_over
from opslib.model import Outcome
from opslib.runbooks.run import FOLDER_VARIABLE
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run

DONE = b"done"
READY = b"ready"

HANG_MARGIN_S = 10.0
"""How much longer than the runner the guardian waits for a kernel that gives no sign [seconds]."""


@contextmanager
def guarded(folder: Path, hang_s: float) -> Iterator[None]:
    """Keep a guardian while a run is under way: dismissed when the block ends, left to act if it raises.

    Parameters
    ----------
    folder
        The run's folder.
    hang_s
        For how long a kernel may give no sign [seconds].

    Raises
    ------
    PreflightError
        If it cannot be started: nothing was changed.
    """
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "opslib.runner.guardian", str(folder), str(hang_s + HANG_MARGIN_S)]
    guardian = subprocess.Popen(
        command,
        stdin=read_end,
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read_end)
    try:
        with guardian.stdout or nullcontext() as said:
            if said is None or said.read(len(READY)) != READY:
                guardian.kill()
                guardian.wait()
                raise PreflightError("no guardian could be started, to give the traffic back if this process dies")
        yield
        if guardian.poll() is None:
            os.write(write_end, DONE)
    finally:
        os.close(write_end)
    guardian.wait(30)


def guard(folder: Path, hang_s: float) -> None:
    """Wait for the runner's word; without it, end the kernel, give the traffic back, and seal the run."""
    word = _await_word(folder, hang_s)
    if word == DONE:
        return
    take_over(folder)
    end_kernel(folder)
    try:
        said = undo_interrupted_run(folder)
    except OpsError as error:
        said = f"IT COULD NOT BE UNDONE, look at the endpoint now: {error}"
    if word is None:
        return  # the runner is alive, and holds the run
    record = read_record(folder)
    if record.outcome is None or record.finished_at is None or said:
        reason = f"the runner died. {said}".removesuffix(" ").removesuffix(".")
        record = record.ended(Outcome.ABORTED, reason)
    end_run(folder, record)


def _await_word(folder: Path, hang_s: float) -> bytes | None:
    """What the runner says at its end; empty if it died, None if nobody gave a sign for too long."""
    heartbeat = Heartbeat(folder)
    while not select([sys.stdin], [], [], 1.0)[0]:
        if heartbeat.silent_s() > hang_s:
            return None
    return sys.stdin.buffer.read()


def end_kernel(folder: Path) -> None:
    """Kill the kernel of a run, so that nobody else works on its endpoint; its environment tells which it is."""
    marker = f"{FOLDER_VARIABLE}={folder}".encode()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            if marker in (process / "environ").read_bytes().split(b"\0"):
                os.kill(int(process.name), signal.SIGKILL)
        except OSError:
            continue


if __name__ == "__main__":
    os.write(sys.stdout.fileno(), READY)
    guard(Path(sys.argv[1]), float(sys.argv[2]))
