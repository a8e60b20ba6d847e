"""A sandbox for the length of a `with` block."""

import os
import tempfile
from contextlib import ExitStack
from dataclasses import fields
from pathlib import Path
from types import TracebackType
from typing import Any

from opslib.sandbox.cli.control import start, stop
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import Settings
from opslib.sandbox.testing.running import RunningSandbox


class Sandbox:
    """A sandbox of this process's own: `with Sandbox() as azure:`.

    In the block this process, and those that it starts, are pointed at the sandbox; afterwards its variables are as
    before. The sandbox has a folder and ports of its own, so any number can run at once; of two nested blocks the
    inner one's sandbox is pointed at. It ends with the block, and soon after this process if that is killed.

    Parameters
    ----------
    home
        The folder to keep it in; None: a temporary one, deleted at the end.
    settings
        Fields of `Settings`, as the options of `opslib sandbox up`: `quota_cores=8`, `operation_s=2.0`, ...

    Raises
    ------
    TypeError
        If there is no such setting.
    ValueError
        If a setting is out of its range.
    """

    def __init__(self, home: Path | str | None = None, **settings: Any) -> None:
        known = [one.name for one in fields(Settings)]
        if unknown := sorted(set(settings) - set(known)):
            raise TypeError(f"Sandbox has no setting {', '.join(unknown)}; expected some of: {', '.join(known)}")
        self._home = home
        self._settings = Settings(**settings)
        self._ending = ExitStack()

    def start(self) -> RunningSandbox:
        """Start it without pointing this process at it, and wait until it answers.

        Raises
        ------
        SandboxError
            If it does not answer; the message ends with its log's last lines. If one is up in the folder.
        """
        with ExitStack() as ending:
            root = self._home
            if root is None:
                root = ending.enter_context(
                    tempfile.TemporaryDirectory(prefix="opslib-sandbox-", ignore_cleanup_errors=True)
                )
            home = Home(Path(root).expanduser().resolve())
            running = RunningSandbox(home, start(home, self._settings, owner=ProcessId.of(os.getpid())))
            ending.callback(stop, home)
            self._ending.push(ending.pop_all())
        return running

    def stop(self) -> None:
        """Stop it and its instances; nothing happens where it was not started."""
        self._ending.close()

    def __enter__(self) -> RunningSandbox:
        """Start it, and point this process at it."""
        running = self.start()
        self._ending.enter_context(running.pointed())
        return running

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Restore the variables and stop it, whatever ended the block."""
        self.stop()
