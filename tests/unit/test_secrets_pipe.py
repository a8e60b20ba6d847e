"""The pipe by which a kernel names its secrets to the runner: it holds 64 KiB, and a canary runs for hours."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import pytest

from opslib.redaction.kernel_pipes import SecretsPipe, secrets_pipe
from opslib.redaction.redact import PIPE_VARIABLE, register
from opslib.runner import watch


@pytest.fixture
def pipe(monkeypatch: pytest.MonkeyPatch) -> Iterator[SecretsPipe]:
    """A runner's pipe, to which this process registers as a kernel does."""
    with secrets_pipe() as opened:
        monkeypatch.setenv(PIPE_VARIABLE, str(opened.path))
        yield opened


def test_a_secret_is_sent_once(pipe: SecretsPipe):
    """Own probes read the endpoint's key again in each round."""
    for _ in range(3):
        register("a-key-of-an-endpoint")
    reading = os.open(pipe.path, os.O_RDONLY | os.O_NONBLOCK)
    assert os.read(reading, 4096) == b'"a-key-of-an-endpoint"\n'
    os.close(reading)


def test_a_long_cell_may_name_any_number_of_secrets(
    pipe: SecretsPipe, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The runner takes them while the cell runs: a full pipe would stop the kernel where it reads a key."""

    def execute(*_: object) -> None:
        for number in range(1_000):
            register(f"{number:05d}-{'s' * 90}")

    engine = ModuleType("engine_that_registers")
    vars(engine)["execute"] = execute
    monkeypatch.setitem(sys.modules, engine.__name__, engine)
    monkeypatch.setattr(watch, "ENGINE", engine.__name__)
    watched = watch.Watch(tmp_path, tmp_path, None, None, lambda _: None, pipe)
    assert watch.execute_watched(tmp_path / "n.ipynb", {}, watched) is None
