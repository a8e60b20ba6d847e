"""Prepare a process that opslib has for itself, as that of `opslib run`."""

from opslib.import_shims import skip_unused_by_a_run
from opslib.runner.execute import import_the_rest
from opslib.runner.fork_server import fork_the_server
from opslib.runner.watch import import_papermill


def prepare_own_process(*, at_once: bool = False) -> None:
    """Skip imports that a run does not use, and fork what becomes its kernel, once what both need is imported.

    A program that calls `execute` may use all imports, and must not be forked.

    Parameters
    ----------
    at_once
        Fork with the imports of the first move of a rollback, which then does not wait for the rest.
    """
    skip_unused_by_a_run()
    if not at_once:
        import_the_rest()
        import_papermill()
    fork_the_server()
