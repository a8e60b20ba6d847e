"""Prepare a process that opslib has for itself, as that of `opslib run`."""

from opslib.import_shims import skip_unused_by_a_run
from opslib.runner.fork_server import fork_the_server


def prepare_own_process() -> None:
    """Skip imports that a run does not use, and fork what becomes its kernel, once what both need is imported.

    A program that calls `execute` may use all imports, and must not be forked.
    """
    skip_unused_by_a_run()
    fork_the_server()
