"""What the prepared process imports and builds: all that a run of any runbook uses, and no more than that.

It keeps no client of Azure, no credential, no secret, no thread, and nothing of an archive or of a workspace: what
`rehearsal` makes for the moment is gone before the first fork.
"""

import gc
from collections.abc import Iterable
from importlib import import_module

from opslib.import_shims import allow_all, skip_iri_checks, skip_unused_by_a_run, without_debugger
from opslib.parameters import RUNBOOKS
from opslib.runner.fork_serving import PREPARED
from opslib.show.registered import MODULES as VIEWS
from opslib.warm.large_pages import gather_pages
from opslib.warm.rehearsal import rehearse

OF_A_RUN = (
    *("opslib.cli.main", "opslib.cli.run", "opslib.cli.fleet_member", "opslib.cli.failure", "opslib.cli.shown_run"),
    *("opslib.evidence.present.report", "opslib.evidence.signing.approval_files", "mistune"),
    *("opslib.runner.own_process", "opslib.runner.concluding", "opslib.runner.guardian"),
    *("opslib.runner.papermill_engine", "opslib.runner.kernel_provisioner", "ipykernel.kernelspec"),
)
"""What the process of `opslib run` imports itself."""

OF_A_KERNEL = (
    *PREPARED,
    *(f"opslib.runbooks.{name}" for name in RUNBOOKS if name != "canary"),
    *("opslib.runbooks.canary.canary", "opslib.runbooks.canary.checks", "opslib.runbooks.retire_checks"),
    *("opslib.show.plot", *VIEWS.values()),
    *("scipy.special", "matplotlib_inline.backend_inline"),
)
"""What the notebooks' cells import."""

OF_A_DEPLOYMENT = ("azure.ai.ml",)
"""What only a deployment imports, most of it in three seconds."""


def prepare() -> None:
    """Import, and build what is the same in every run."""
    gc.disable()  # imports make half a million objects and free none
    skip_unused_by_a_run()
    _import(OF_A_RUN)
    allow_all()
    skip_iri_checks()
    with without_debugger():
        _import(OF_A_KERNEL)
    _import(OF_A_DEPLOYMENT)
    for parameters in RUNBOOKS.values():
        parameters.model_rebuild()
    rehearse()
    gc.collect()
    gc.freeze()  # collections in a fork would copy every page
    gather_pages()


def _import(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)
