"""The index of an archive as one page: every run, with filters that work from a file, without a network."""

import base64
import hashlib
import json
import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive.run_row import RunRow
from opslib.evidence.present.models import model_names
from opslib.evidence.present.page import OUTCOMES, TEMPLATES, load_template, mark
from opslib.evidence.run.files import REPORT
from opslib.evidence.run.record import read_record
from opslib.model import Outcome

Checked = Callable[[str], str]
"""What the verification of the archive found for a run's id; empty for nothing."""


@dataclass(frozen=True)
class IndexRow:
    """One run as the index shows it; `seal` is what its verification found."""

    run: str
    link: str
    runbook: str
    endpoint: str
    outcome: str
    heading: str
    mark: str
    started: str
    reason: str
    who: str
    reason_given: str
    ticket: str
    models: str
    seal: str


def index_html(archive: Path, rows: Sequence[RunRow], target: Path, checked: Checked | None, now: datetime) -> str:
    """Return the page.

    Parameters
    ----------
    rows
        The runs, newest first.
    target
        Where the page will be: links to the reports are relative to its folder.
    checked
        What the verification found by run; None where the archive was not verified.
    """
    script = (TEMPLATES / "index.js").read_text(encoding="utf-8")
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    shown = [_row(archive, row, target, checked) for row in rows]
    return str(
        load_template("index.html.j2").render(
            archive=archive,
            now=now,
            rows=shown,
            verified=checked is not None,
            unsound=sum(row.seal not in ("sound", "not verified") for row in shown),
            choices={name: _choices(shown, name) for name in ("outcome", "endpoint", "runbook")},
            style=(TEMPLATES / "page.css").read_text(encoding="utf-8"),
            script=script,
            digest=digest,
        )
    )


def _models(folder: Path, row: RunRow) -> str:
    try:
        return "; ".join(f"{name}: {model}" for name, model in model_names(folder, read_record(folder)).items())
    except RecordError:
        return row.models


def _choices(rows: Sequence[IndexRow], name: str) -> list[str]:
    return sorted({getattr(row, name) for row in rows} - {""})


def _row(archive: Path, row: RunRow, target: Path, checked: Checked | None) -> IndexRow:
    report = archive / row.folder / REPORT
    link = os.path.relpath(report, target.parent) if report.is_file() else ""
    outcome = Outcome(row.outcome) if row.outcome else None
    return IndexRow(
        run=row.run,
        link=Path(link).as_posix() if link else "",
        runbook=row.runbook,
        endpoint=row.endpoint,
        outcome=row.outcome or "unfinished",
        heading=OUTCOMES[outcome].split(":")[0] if outcome else "Not ended",
        mark=mark(outcome),
        started=row.started_at[:16].replace("T", " "),
        reason=row.reason,
        who=row.who,
        reason_given=str(json.loads(row.parameters).get("reason") or ""),
        ticket=row.ticket,
        models=_models(archive / row.folder, row),
        seal=(checked(row.run) or "sound") if checked else "not verified",
    )
