"""Processes by pid *and* start time, so that a reused pid is never taken for ours."""

import contextlib
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path


@dataclass(frozen=True)
class ProcessId:
    """One process for ever: pids are reused, pid and start time together are not."""

    pid: int
    started_ticks: int

    @classmethod
    def of(cls, pid: int) -> "ProcessId | None":
        """Read the identity of a running process; None when there is none (a zombie counts as none)."""
        fields = _stat(pid)
        if fields is None or fields[0] == "Z":
            return None
        return cls(pid, int(fields[19]))

    def alive(self) -> bool:
        """Return whether this very process still runs."""
        return ProcessId.of(self.pid) == self

    def signal_group(self, number: signal.Signals) -> None:
        """Signal the process group that this process leads, if it is still ours."""
        if self.alive():
            with contextlib.suppress(ProcessLookupError, PermissionError):
                os.killpg(self.pid, number)

    def end(self, grace_s: float) -> bool:
        """Ask the group to end, insist after `grace_s`; return whether it is gone."""
        self.signal_group(signal.SIGTERM)
        if not wait_until_gone(self, grace_s):
            self.signal_group(signal.SIGKILL)
        return wait_until_gone(self, 5.0)


@dataclass(frozen=True)
class Usage:
    """What a process group has used."""

    cpu_s: float
    memory_bytes: int


def wait_until_gone(process: ProcessId, timeout_s: float) -> bool:
    """Wait for a process to end; return whether it did."""
    deadline = time.monotonic() + timeout_s
    while process.alive():
        if time.monotonic() > deadline:
            return False
        time.sleep(0.01)
    return True


def group_usage(group: int, pids: dict[int, list[int]]) -> Usage:
    """Add up CPU time and resident memory of the processes of a group."""
    ticks, pages = 0, 0
    for pid in pids.get(group, []):
        fields = _stat(pid)
        if fields is not None:
            ticks += int(fields[11]) + int(fields[12])
            pages += int(fields[21])
    return Usage(ticks / os.sysconf("SC_CLK_TCK"), pages * os.sysconf("SC_PAGE_SIZE"))


def groups() -> dict[int, list[int]]:
    """Return every process group's pids, in one pass over /proc."""
    found: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):  # noqa: PTH208 - a path for each process would take longer than the rest
        with contextlib.suppress(ProcessLookupError, PermissionError):  # it has ended, or is hidden
            if name.isdigit():
                found.setdefault(os.getpgid(int(name)), []).append(int(name))
    return found


def _stat(pid: int) -> list[str] | None:
    """Return /proc/PID/stat from the state on (proc(5)); the name before it may hold blanks."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
    except OSError:
        return None
    return text.rpartition(")")[2].split()
