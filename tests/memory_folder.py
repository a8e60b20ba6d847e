"""The tests' files in memory: archives are written to the disk itself, some ten thousand times in the suite."""

import os
import shutil
from pathlib import Path

MEMORY = Path("/dev/shm")  # noqa: S108 - pytest makes a private folder in it
NEEDED_BYTES = 1024**3
"""Memory that the folder must have free: nine times what the whole suite holds at once."""


def use_memory() -> None:
    """Let pytest make its folders in memory where the machine has enough, except for benchmarks."""
    if any(name.startswith("OPSLIB_BENCH") for name in os.environ) or not os.access(MEMORY, os.W_OK):
        return
    runs_programs = not os.statvfs(MEMORY).f_flag & os.ST_NOEXEC
    if runs_programs and shutil.disk_usage(MEMORY).free >= NEEDED_BYTES:
        os.environ.setdefault("PYTEST_DEBUG_TEMPROOT", str(MEMORY))
