"""Where a command writes: a file, or beside what a program reads from stdout."""

import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from opslib.errors import RecordError


def write_output(path: Path, text: str) -> None:
    """Write a file.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    try:
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}") from error


def give_up_stdout() -> None:
    """Have what is still printed go nowhere: the reader has closed the pipe, as `| head` does."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


@contextmanager
def shown_if_read() -> Iterator[None]:
    """Print in a block how something has ended; where the reader of stdout has gone, the exit code is the same."""
    try:
        yield
        sys.stdout.flush()
    except BrokenPipeError:
        give_up_stdout()


def print_aside(text: str) -> None:
    """Print for people on stderr, so that stdout holds only what was requested."""
    print(text, file=sys.stderr)
