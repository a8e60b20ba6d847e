"""The record of a run (``run.json``): who did what, to what, when, how it ended, and what it changed."""

import json
import os
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.displayed import Displayed
from opslib.errors import RecordError
from opslib.evidence.run.files import DRAFT_PREFIX, RECORD
from opslib.evidence.run.journal import as_json
from opslib.model import Outcome, Scope, Traffic
from opslib.redaction.redact import redact

SCHEMA_VERSION = 2


@dataclass(frozen=True)
class Approval:
    """Who agreed to a change, when, until when, meaning what by it, and to which plan.

    `plan_sha256` is the SHA-256 of its ``plan.json``; `keyid` names the key that signed it, and is empty where
    nobody signed: it is then but a claim.
    """

    who: str
    at: str
    meaning: str
    plan_sha256: str
    expires: str = ""
    keyid: str = ""

    def times(self) -> tuple[datetime, datetime]:
        """When it was given, and when it expires."""
        given, expires = (datetime.fromisoformat(text).astimezone(UTC) for text in (self.at, self.expires))
        return given, expires


@dataclass(frozen=True)
class ChangeRequest:
    """The change as the organisation knows it: its id, who asked, whether it is an emergency, who agreed.

    `approvals` are claims that nobody signed, `signed` are envelopes (see `opslib.evidence.signing.approval`).
    """

    ticket: str = ""
    requester: str = ""
    emergency: bool = False
    approvals: tuple[Approval, ...] = ()
    signed: tuple[str, ...] = ()


@dataclass(frozen=True)
class Record(Displayed):
    """What is known of a run. `outcome` is None while it goes on, and for ever if nobody could end it.

    Attributes
    ----------
    ticket, requester, emergency, approvals
        The change as the organisation knows it: its id, who asked for it, whether it was let past the usual gates,
        who agreed.
    executor
        Who ran it: the user of the machine, and of the pipeline where there was one; `scope.principal` is who Azure
        saw.
    commit, dirty
        The repository that the notebook came from, and whether it differed from that commit.
    deployments_before, deployments_after
        Model, environment, code and size of each deployment, by name, with ARM ids.
    gates
        What had to hold, and the numbers that were measured: findings of preflight, criteria of each stage.
    rollback
        How to take the change back: the plan's undo and the command that a person could type.
    seq, previous_sha256, started_sha256
        The run's first line in the ledger: its number, the digest of the line before it, and its own.
    quarantine
        Where the run looks as if it held a secret; it is then sealed, and not published.
    """

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
    ticket: str = ""
    requester: str = ""
    emergency: bool = False
    approvals: tuple[Approval, ...] = ()
    executor: Mapping[str, str] = field(default_factory=dict)
    commit: str = ""
    dirty: bool | None = None
    kernel: str = ""
    deployments_before: Mapping[str, Mapping[str, Any]] | None = None
    deployments_after: Mapping[str, Mapping[str, Any]] | None = None
    plan_sha256: str = ""
    gates: tuple[Mapping[str, Any], ...] = ()
    rollback: Mapping[str, Any] = field(default_factory=dict)
    correlation_ids: tuple[str, ...] = ()
    exit_code: int | None = None
    failing_cell: str = ""
    redactions: int = 0
    quarantine: tuple[str, ...] = ()
    seq: int = 0
    previous_sha256: str = ""
    started_sha256: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def duration_s(self) -> float | None:
        """From start to end [seconds]; None while the run goes on."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None

    def ended(self, outcome: Outcome, reason: str) -> "Record":
        """The same record with its end."""
        return replace(
            self, outcome=outcome, reason=reason, finished_at=datetime.now(UTC), exit_code=outcome.exit_code
        )


def write_record(folder: Path, record: Record) -> None:
    """Write ``run.json`` so that a reader sees the old one or the new one, whole."""
    content = as_json(record) | {"duration_s": record.duration_s}
    write_atomically(folder / RECORD, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(folder: Path) -> Record:
    """Read ``run.json``.

    Raises
    ------
    RecordError
        If there is none, or it is not one.
    """
    path = folder / RECORD
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
        content["approvals"] = tuple(Approval(**approval) for approval in content.get("approvals", ()))
        listed = {name: tuple(content.get(name, ())) for name in ("gates", "correlation_ids", "quarantine")}
        return Record(**content | listed)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} is not the record of a run: {error}") from error


def write_atomically(
    path: Path, content: str | bytes, *, redacted: bool = True, drafts: Path | None = None
) -> None:
    """Write a file so that a full disk or a crash leaves the old one, and no secret that is known reaches the disk.

    Parameters
    ----------
    redacted
        False for what holds no words but digests and signatures, which masking could only break. Bytes are
        written as they are.
    drafts
        Where the draft is written, on the same disk; a crash may leave it there. By default beside the file.
    """
    if isinstance(content, str):
        content = (redact(content) if redacted else content).encode("utf-8", "backslashreplace")
    draft: Path | None = None
    try:
        folder = drafts or path.parent
        with tempfile.NamedTemporaryFile("wb", dir=folder, prefix=DRAFT_PREFIX, delete=False) as file:
            draft = Path(file.name)
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        draft.chmod(0o644)
        draft.replace(path)
        sync_folder(path.parent)
    except OSError as error:
        if draft is not None:
            draft.unlink(missing_ok=True)
        raise RecordError(f"{path} cannot be written: {error}") from error


def sync_folder(folder: Path) -> None:
    """Put a folder's names on the disk: a new file is there only when its name is."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
