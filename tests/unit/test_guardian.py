"""What a guardian reads from its runner, and when it acts."""

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import pytest

from opslib.evidence.run.journal import Heartbeat
from opslib.runner import guardian

LONG_S = 3600.0


@dataclass(frozen=True)
class Pipes:
    """Both pipes between a runner and its guardian; the test closes `writing`, as a runner that ends."""

    reading: int
    writing: int
    answers: int
    answering: int

    def await_end(self, folder: Path) -> bytes | None:
        """Wait as the guardian of a run does."""
        return guardian._await_end(Heartbeat(folder), LONG_S, self.reading, self.answering)


@pytest.fixture
def pipes() -> Iterator[Pipes]:
    """Pipes that a guardian in this process reads and answers."""
    made = Pipes(*os.pipe(), *os.pipe())
    yield made
    for one in (made.reading, made.answers, made.answering):
        os.close(one)


def test_a_guardian_does_not_act_beside_a_runner_that_ends_the_run(
    pipes: Pipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """The runner's undo may take long, and the journal is idle meanwhile: it is not taken for a stopped runner."""
    with ThreadPoolExecutor() as pool:
        ended = pool.submit(pipes.await_end, tmp_path)
        os.write(pipes.writing, guardian.ENDING)
        assert os.read(pipes.answers, 64) == guardian.READY
        monkeypatch.setattr(Heartbeat, "idle_s", lambda _: 2 * LONG_S)
        os.write(pipes.writing, guardian.DONE)
        os.close(pipes.writing)
        assert ended.result(30) == guardian.DONE


@pytest.mark.parametrize("written", [b"", guardian.ENDING])
def test_a_runner_that_dies_is_noticed_before_and_in_its_end(pipes: Pipes, tmp_path: Path, written: bytes):
    """The pipe ends without `DONE`: the guardian returns the traffic and seals the run."""
    os.write(pipes.writing, written)
    os.close(pipes.writing)
    assert pipes.await_end(tmp_path) == b""


def test_an_idle_run_is_noticed(pipes: Pipes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Neither a message nor a sign of life: the runner is stopped."""
    monkeypatch.setattr(Heartbeat, "idle_s", lambda _: 2 * LONG_S)
    assert pipes.await_end(tmp_path) is None
    os.close(pipes.writing)
