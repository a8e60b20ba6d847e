"""The guardian of a canary: a process of its own that outlives the runner and gives the traffic back in its place.

Started by the runner, detached. It reads a pipe that only the runner can write to: a word means that the run ended
in order, an end of file without it means that the runner died.
"""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opslib.change.recover import recover
from opslib.change.run import FOLDER_VARIABLE
from opslib.errors import OpsError
from opslib.evidence.custody import end_run, take_over
from opslib.evidence.record import read_record
from opslib.model import Outcome

DONE = b"done"


@contextmanager
def guarded(folder: Path) -> Iterator[None]:
    """Keep a guardian while a run is under way: dismissed when the block ends, left to act if it raises."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-m", "opslib.guardian", str(folder)]
    guardian = subprocess.Popen(
        command,
        stdin=read_end,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )
    os.close(read_end)
    try:
        yield
        if guardian.poll() is None:
            os.write(write_end, DONE)
    finally:
        os.close(write_end)
    guardian.wait(30)


def guard(folder: Path) -> None:
    """Wait for the runner's word; without it, end the kernel, give the traffic back, and seal the run."""
    if sys.stdin.buffer.read() == DONE:
        return
    take_over(folder)
    end_kernel(folder)
    try:
        said = recover(folder)
    except OpsError as error:
        said = f"IT COULD NOT BE UNDONE, look at the endpoint now: {error}"
    record = read_record(folder)
    if record.outcome is None or record.finished_at is None or said:
        reason = f"the runner died. {said}".removesuffix(" ").removesuffix(".")
        record = record.ended(Outcome.ABORTED, reason)
    end_run(folder, record)


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
    guard(Path(sys.argv[1]))
