"""The record with which a run begins."""

import platform
from datetime import UTC, datetime
from pathlib import Path

from opslib.evidence.run.provenance import find_executor, find_versions
from opslib.evidence.run.record import Record
from opslib.runbook_parameters import RunbookParameters


def new_record(parameters: RunbookParameters, folder: Path) -> Record:
    """Begin a record."""
    return Record(
        run_id=folder.name,
        runbook=parameters.runbook,
        endpoint=parameters.endpoint,
        parameters=parameters.model_dump(),
        started_at=datetime.now(UTC),
        host=platform.node(),
        executor=find_executor(),
        versions=find_versions(),
    )
