"""What the prepared process does once before its forks do it: libraries then keep what they build at a first use.

It reads no client's environment and no file of a user, and reaches nothing but a server of its own for the moment.
"""

import json
import shutil
import tempfile
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path
from types import NoneType

from opslib.azure.rehearsal import send_requests
from opslib.errors import OpsError
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run, end_run
from opslib.evidence.present.cells import read_cells
from opslib.evidence.present.page import load_template
from opslib.evidence.run.files import NOTEBOOK
from opslib.evidence.run.journal import Journal, JournalEvent, as_json
from opslib.evidence.run.provenance import find_versions
from opslib.evidence.signing.keys import find_key
from opslib.model import Findings, Outcome
from opslib.parameters import RUNBOOKS
from opslib.redaction.redact import redactor
from opslib.runbooks.new_record import new_record
from opslib.runner.notebooks import SHIPPED

NO_MAPPINGS: tuple[type, ...] = (NoneType, bool, int, float, type(OrderedDict().values()), Findings)
"""Classes of values that a run logs or writes, and that are no `Mapping`. Python compares a class with all
subclasses of `Mapping`, hundreds with azure-ai-ml, when it first sees one, and remembers it, in forks too."""


def rehearse() -> None:
    """Have libraries build what they keep for later: templates, schemas, versions, plug-ins, prose, ciphers."""
    import nbformat  # noqa: PLC0415 - it takes what skip_unused_by_a_run leaves out, if it is imported before
    from jupyter_client.provisioning import KernelProvisionerFactory  # noqa: PLC0415

    for name in ("report.html.j2", "summary.html.j2"):
        load_template(name)
    find_versions()
    KernelProvisionerFactory.instance()
    for path in SHIPPED.glob("*.ipynb"):
        list(read_cells(json.loads(path.read_bytes())))
    nbformat.validate(nbformat.read(SHIPPED / "rollback.ipynb", as_version=nbformat.NO_CONVERT))
    as_json([{}, (), datetime.now(UTC)])
    for kind in NO_MAPPINGS:
        assert not issubclass(kind, Mapping)
    with suppress(OSError, OpsError):  # where a process may not listen on loopback
        send_requests()
    with suppress(OSError, OpsError), tempfile.TemporaryDirectory() as folder:
        leave_run(Path(folder))
    redactor.cache_clear()  # each fork reads the secrets of its own environment


def leave_run(folder: Path) -> None:
    """Leave the evidence of a run in a folder: record, journal, notebook, report, seal, ledger, index."""
    redactor().add(["a value that is searched for"])
    parameters = RUNBOOKS["rollback"].check({"endpoint": "rehearsal", "dry_run": "true"})
    run = new_folder(folder / "runs", parameters.runbook, parameters.endpoint)
    record = begin_run(run, new_record(parameters, run))
    Journal(run).write(JournalEvent.OPENED, record)
    shutil.copyfile(SHIPPED / "rollback.ipynb", run / NOTEBOOK)
    end_run(run, record.ended(Outcome.PLANNED, "a rehearsal"), find_key(folder / "key.pem", "of a rehearsal"))
    find_runs(folder / "runs", RunQuery(endpoint=parameters.endpoint))
