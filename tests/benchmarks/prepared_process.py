"""A prepared process for measurements, beside commands that do not use it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from opslib.warm.starting import start, stop

Place = dict[str, str]
"""The variable by which a command finds the prepared process, or none."""

NOWHERE: Place = {"XDG_RUNTIME_DIR": "/nowhere"}


@contextmanager
def prepared_process() -> Iterator[tuple[Place, int]]:
    """Keep one during the block; yield the variable by which a command finds it, and its process."""
    folder = tempfile.mkdtemp(prefix="warm")  # a socket's path is at most 107 bytes long
    place = {"XDG_RUNTIME_DIR": folder}
    with patch.dict(os.environ, place):
        pid = start().pid
    try:
        yield place, pid
    finally:
        with patch.dict(os.environ, place):
            stop()
        shutil.rmtree(folder)


def processor_time_s(pid: int) -> float:
    """Processor time of a process and of its children that have ended [seconds]."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return sum(map(int, fields[11:15])) / os.sysconf("SC_CLK_TCK")
