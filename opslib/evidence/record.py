"""The record of a run (``run.json``): who did what, to what, when, how it ended, and what it changed."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.journal import as_json
from opslib.model import Outcome, Scope, Traffic

NAME = "run.json"
SCHEMA_VERSION = 1


@dataclass(frozen=True)
class Record:
    """What is known of a run. `outcome` is None while it goes on, and for ever if nobody could end it."""

    run_id: str
    runbook: str
    endpoint: str
    parameters: Mapping[str, Any]
    started_at: datetime
    outcome: Outcome | None = None
    reason: str = ""
    finished_at: datetime | None = None
    scope: Scope | None = None
    host: str = ""
    versions: Mapping[str, str] = field(default_factory=dict)
    traffic_before: Traffic | None = None
    traffic_after: Traffic | None = None
    results: Mapping[str, Any] = field(default_factory=dict)
    notebook_sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def duration_s(self) -> float | None:
        """From start to end [seconds]; None while the run goes on."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None

    def ended(self, outcome: Outcome, reason: str) -> "Record":
        """The same record with its end."""
        return replace(self, outcome=outcome, reason=reason, finished_at=datetime.now(UTC))


def write_record(folder: Path, record: Record) -> None:
    """Write ``run.json`` so that a reader sees the old one or the new one, whole."""
    content = as_json(record) | {"duration_s": record.duration_s}
    write_atomically(folder / NAME, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(folder: Path) -> Record:
    """Read ``run.json``.

    Raises
    ------
    RecordError
        If there is none, or it is not one.
    """
    path = folder / NAME
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
        content.pop("duration_s", None)
        content["started_at"] = datetime.fromisoformat(content["started_at"])
        if content["finished_at"]:
            content["finished_at"] = datetime.fromisoformat(content["finished_at"])
        if content["outcome"]:
            content["outcome"] = Outcome(content["outcome"])
        if content["scope"]:
            content["scope"] = Scope(**content["scope"])
        return Record(**content)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} is not the record of a run: {error}") from error


def write_atomically(path: Path, text: str) -> None:
    """Write a file so that a full disk or a crash leaves the old one."""
    try:
        with tempfile.NamedTemporaryFile("w", dir=path.parent, delete=False, encoding="utf-8") as file:
            file.write(text)
            file.flush()
            os.fsync(file.fileno())
        os.replace(file.name, path)  # noqa: PTH105 - says what it does
    except OSError as error:
        raise RecordError(f"{path} cannot be written: {error}") from error
