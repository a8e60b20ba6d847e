"""Archives of runs made without papermill: what tests alter, list, publish and measure."""

import json
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run, end_run
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.record import Record, write_atomically
from opslib.model import Outcome, Scope

REPORT = "<!DOCTYPE html><title>a report</title>"

SCOPE = Scope(
    "00000000-0000-4000-8000-000000000001", "rg", "ws", "https://127.0.0.1:1", "oncall@harborshield.example"
)
MODEL = "/subscriptions/s/resourceGroups/rg/providers/x/workspaces/ws/models/fraud-model/versions/2"


def notebook(source: str = "1 + 1", text: str = "2") -> dict[str, Any]:
    """A notebook of one executed cell."""
    output = {"output_type": "execute_result", "data": {"text/plain": text}, "metadata": {}, "execution_count": 1}
    cell = {"cell_type": "code", "id": "one", "source": source, "metadata": {"tags": ["act"]}, "outputs": [output]}
    kernel = {"display_name": "Python 3 (ipykernel)", "language": "python", "name": "python3"}
    metadata = {"kernelspec": kernel, "language_info": {"name": "python"}}
    return {"cells": [cell | {"execution_count": 1}], "metadata": metadata, "nbformat": 4, "nbformat_minor": 5}


def open_run(archive: Path, runbook: str = "canary", endpoint: str = "fraud", **fields: Any) -> tuple[Path, Record]:
    """Begin a run and write what a kernel would."""
    folder = new_folder(archive, runbook, endpoint)
    parameters = {"endpoint": endpoint, "target": "sandbox"}
    record = Record(folder.name, runbook, endpoint, parameters, datetime.now(UTC), scope=SCOPE)
    record = begin_run(folder, replace(record, deployments_before={"green": {"model": MODEL}}, **fields))
    journal = Journal(folder)
    journal.write(JournalEvent.OPENED, record)
    journal.write(JournalEvent.PREFLIGHT, [{"check": "state", "level": "ok", "evidence": "Succeeded", "mend": ""}])
    verdict = {"decision": "promote", "reason": "enough", "measurements": []}
    journal.write(JournalEvent.LOOK, {"observation": {"source": "metrics"}, "verdict": verdict})
    for name, content in (("before.json", {"traffic": {"blue": 100}}), ("notebook.ipynb", notebook())):
        write_atomically(folder / name, json.dumps(content, indent=1) + "\n")
    return folder, record


def make_run(archive: Path, outcome: Outcome = Outcome.SUCCEEDED, reason: str = "done", **fields: Any) -> Path:
    """Begin, write and end one run."""
    folder, record = open_run(archive, **fields)
    with mock.patch("opslib.evidence.present.report.render", return_value=REPORT):
        end_run(folder, record.ended(outcome, reason))
    return folder


def make_archive(archive: Path, runs: int) -> list[Path]:
    """An archive of sealed runs."""
    return [make_run(archive) for _ in range(runs)]


def contents(folder: Path) -> Mapping[str, bytes]:
    """Every file below a folder."""
    return {p.relative_to(folder).as_posix(): p.read_bytes() for p in sorted(folder.rglob("*")) if p.is_file()}
