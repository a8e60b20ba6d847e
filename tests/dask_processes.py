"""A Dask scheduler and two workers, each a process, forked from one that has imported distributed."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from awaiting import wait_until


@contextmanager
def dask_cluster(folder: Path) -> Iterator[str]:
    """Run the processes; yield the scheduler's address."""
    file = folder / "scheduler.json"
    command = [sys.executable, __file__, str(file)]
    with subprocess.Popen(command, stderr=subprocess.DEVNULL, start_new_session=True) as forked:
        try:
            yield wait_until(lambda: read_address(file), within_s=60)
        finally:
            os.killpg(forked.pid, signal.SIGKILL)


def read_address(file: Path) -> str:
    """Return what the scheduler has written; empty while it has not."""
    try:
        return str(json.loads(file.read_text())["address"]).removeprefix("tcp://")
    except (OSError, ValueError):
        return ""


def main(file: Path) -> None:
    from distributed.cli import dask_scheduler, dask_worker  # noqa: PLC0415 - only in this process

    common = ["--scheduler-file", str(file), "--host", "127.0.0.1", "--no-dashboard"]
    worker = [*common, "--no-nanny", "--nthreads", "1", "--local-directory", str(file.parent)]
    for command, words in (
        (dask_scheduler.main, [*common, "--port", "0"]),
        (dask_worker.main, worker),
        (dask_worker.main, worker),
    ):
        if os.fork() == 0:
            command(words)
    os.wait()


if __name__ == "__main__":
    main(Path(sys.argv[1]))
