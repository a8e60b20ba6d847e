"""Signals to a kernel: they reach its own process, and never another one that has its number now."""

import os
import select
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from threading import Thread
from types import SimpleNamespace
from typing import Any

import pytest

from opslib.runner.fork_server import ForkedProcess
from opslib.runner.watch import Watch

SLEEP = [sys.executable, "-c", "import time; time.sleep(600)"]


@pytest.fixture
def processes() -> Iterator[list["subprocess.Popen[bytes]"]]:
    """Two processes that sleep until they are ended."""
    started = [subprocess.Popen(SLEEP) for _ in range(2)]
    yield started
    for process in started:
        process.kill()
        process.wait()


def watch_of(folder: Path, process: Any, pid: int) -> Watch:
    """Return the watch of a run whose kernel is a process, known to Jupyter by a number."""
    secrets: Any = None
    watch = Watch(folder, folder, None, None, lambda _: None, secrets)
    watch.client = SimpleNamespace(km=SimpleNamespace(provisioner=SimpleNamespace(process=process, pid=pid)))
    return watch


def test_a_signal_reaches_the_kernel(processes, tmp_path):
    """By the descriptor of its process."""
    kernel, _ = processes
    watch_of(tmp_path, ForkedProcess(kernel.pid), kernel.pid).signal_kernel(signal.SIGTERM)
    assert kernel.wait(60) == -signal.SIGTERM


@pytest.mark.parametrize("known", [True, False], ids=["while Jupyter keeps it", "once Jupyter has left it"])
def test_another_process_with_the_number_of_an_ended_kernel_gets_no_signal(processes, tmp_path, known):
    """The kernel has ended, and its number was given to another process."""
    kernel, other = processes
    forked = ForkedProcess(kernel.pid)
    kernel.kill()
    kernel.wait()
    forked.pid = other.pid
    watch_of(tmp_path, forked if known else None, other.pid).signal_kernel(signal.SIGKILL)
    ended = os.pidfd_open(other.pid)
    try:
        assert select.select([ended], [], [], 1.0)[0] == []
    finally:
        os.close(ended)


def test_the_descriptor_stays_open_while_a_signal_is_sent_by_it(processes, monkeypatch):
    """Jupyter's thread finds the end meanwhile; a closed descriptor's number may be another process's at once."""
    kernel, _ = processes
    forked = ForkedProcess(kernel.pid)
    kernel.kill()
    kernel.wait()
    polling = Thread(target=forked.poll)
    sent: list[int] = []

    def send(descriptor: int, signum: int) -> None:
        polling.start()
        polling.join(1.0)  # it ends at once where it does not wait for this
        os.fstat(descriptor)
        sent.append(signum)

    monkeypatch.setattr(signal, "pidfd_send_signal", send)
    forked.send_signal(signal.SIGINT)
    polling.join()
    assert (sent, forked.descriptor) == ([signal.SIGINT], None)
