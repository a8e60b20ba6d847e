"""A running sandbox for any suite, by the classes that its users have."""

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path

from opslib.sandbox import RunningSandbox, Sandbox
from opslib.sandbox.core.settings import Settings

__all__ = ["RunningSandbox", "reread", "running_sandbox"]


@contextmanager
def running_sandbox(root: Path, settings: Settings | None = None) -> Iterator[RunningSandbox]:
    """Start a sandbox in a folder; stop it and its instances at the end, whatever happened."""
    sandbox = Sandbox(root, **asdict(settings or Settings()))
    try:
        yield sandbox.start()
    finally:
        sandbox.stop()


def reread(sandbox: RunningSandbox) -> RunningSandbox:
    """The same sandbox by its present note."""
    return RunningSandbox(sandbox.home, json.loads(sandbox.home.note.read_text(encoding="utf-8")))
