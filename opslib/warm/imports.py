"""What the prepared process imports and builds: all that a run of any runbook uses, and no more than that.

Imports alone: no client of Azure, no credential, no secret, no thread, nothing of the archive or of a workspace.
"""

import gc
import json
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from importlib import import_module
from types import NoneType

from opslib.evidence.present.cells import read_cells
from opslib.evidence.present.page import load_template
from opslib.evidence.run.journal import as_json
from opslib.evidence.run.provenance import find_versions
from opslib.import_shims import allow_all, skip_iri_checks, skip_unused_by_a_run, without_debugger
from opslib.model import Findings
from opslib.parameters import RUNBOOKS
from opslib.runner.fork_serving import PREPARED
from opslib.runner.notebooks import SHIPPED
from opslib.show.registered import MODULES as VIEWS
from opslib.warm.large_pages import gather_pages

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

NO_MAPPINGS: tuple[type, ...] = (NoneType, bool, int, float, type(OrderedDict().values()), Findings)
"""Classes of values that a run logs or writes, and that are no `Mapping`. Python compares a class with all
subclasses of `Mapping`, hundreds with azure-ai-ml, when it first sees one, and remembers it, in forks too."""


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
    _rehearse()
    gc.collect()
    gc.freeze()  # collections in a fork would copy every page
    gather_pages()


def _rehearse() -> None:
    """Have libraries build what they keep for later: templates, patterns, schemas, versions, lists of plug-ins."""
    import nbformat  # noqa: PLC0415 - it takes what skip_unused_by_a_run leaves out, if it is imported before
    from jupyter_client.provisioning import KernelProvisionerFactory  # noqa: PLC0415

    for name in ("report.html.j2", "summary.html.j2"):
        load_template(name)
    find_versions()
    KernelProvisionerFactory.instance()
    text = (SHIPPED / "rollback.ipynb").read_text(encoding="utf-8")
    nbformat.validate(nbformat.reads(text, as_version=nbformat.NO_CONVERT))
    list(read_cells(json.loads(text)))
    as_json([{}, (), datetime.now(UTC)])
    for kind in NO_MAPPINGS:
        assert not issubclass(kind, Mapping)


def _import(names: Iterable[str]) -> None:
    for name in names:
        import_module(name)
