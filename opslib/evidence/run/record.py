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

_LISTS = ("gates", "correlation_ids", "notifications", "quarantine", "rejected_approvals")


@dataclass(frozen=True)
class Approval:
    """An approval of a plan: by whom, when, until when, and with which meaning.

    `plan_sha256` is the SHA-256 of the ``plan.json``. `keyid` is the key that signed the approval; it is empty for
    an unsigned one, which is a claim only.
    """

    who: str
    at: str
    meaning: str
    plan_sha256: str
    expires: str = ""
    keyid: str = ""

    def times(self) -> tuple[datetime, datetime]:
        """Return when it was given and when it expires."""
        given, expires = (datetime.fromisoformat(text).astimezone(UTC) for text in (self.at, self.expires))
        return given, expires


@dataclass(frozen=True)
class ChangeRequest:
    """A change request: ticket, requester, whether it is an emergency, and its approvals.

    `approvals` are unsigned claims, `signed` are envelopes (see `opslib.evidence.signing.approval`). `offered` are
    envelopes of a folder, of which only the valid ones count; `rejected` are the reasons why others do not.
    `revocations` are envelopes that withdraw approvals. `wave` is the wave that the run is part of, by the id of
    its first record, and `wave_member` the endpoint's number in the wave's plan.
    """

    ticket: str = ""
    requester: str = ""
    emergency: bool = False
    approvals: tuple[Approval, ...] = ()
    signed: tuple[str, ...] = ()
    offered: tuple[str, ...] = ()
    revocations: tuple[str, ...] = ()
    rejected: tuple[str, ...] = ()
    wave: str = ""
    wave_member: int = 0


@dataclass(frozen=True)
class Record(Displayed):
    """The record of one run. `outcome` is None until the run has ended.

    Attributes
    ----------
    ticket, requester, emergency, approvals
        The change request: ticket, who requested the change, whether it bypassed the usual gates, its approvals.
    rejected_approvals
        Approvals that were found and are not valid, each with the reason.
    executor
        Who ran it: the user of the machine and, in a pipeline, the pipeline's user. `scope.principal` is the
        identity that Azure authenticated.
    commit, dirty
        The commit of the notebook's repository, and whether the repository had local changes.
    deployments_before, deployments_after
        Model, environment, code and size of each deployment, by name, with ARM ids.
    origins
        Where each parameter's value came from: "given", "policy" or "default".
    gates
        Preflight findings and each stage's criteria, with the numbers that were measured.
    notifications
        Each notice that was sent, to which reference, and whether it was delivered.
    rollback
        How to undo the change: the plan's undo and the commands that do it by hand.
    seq, previous_sha256, started_sha256
        The run's first line in the ledger: its number, the digest of the line before it, and its own.
    quarantine
        Where the run may contain a secret; such a run is sealed and not published.
    prepared_at
        When the process was prepared of which the run's is a fork; empty for a process of its own.
    wave, wave_member
        The wave that the run is part of, and its endpoint's number in the plan; empty and 0 for other runs.
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
    rejected_approvals: tuple[str, ...] = ()
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
    notifications: tuple[Mapping[str, Any], ...] = ()
    exit_code: int | None = None
    origins: Mapping[str, str] = field(default_factory=dict)
    failing_cell: str = ""
    redactions: int = 0
    quarantine: tuple[str, ...] = ()
    seq: int = 0
    previous_sha256: str = ""
    started_sha256: str = ""
    wave: str = ""
    wave_member: int = 0
    prepared_at: str = ""
    schema_version: int = SCHEMA_VERSION

    @property
    def duration_s(self) -> float | None:
        """Time from start to end [seconds]; None until the run has ended."""
        return (self.finished_at - self.started_at).total_seconds() if self.finished_at else None

    def ended(self, outcome: Outcome, reason: str) -> "Record":
        """Return the record with its outcome, reason and end time."""
        return replace(
            self, outcome=outcome, reason=reason, finished_at=datetime.now(UTC), exit_code=outcome.exit_code
        )


def write_record(folder: Path, record: Record) -> None:
    """Write ``run.json`` atomically."""
    content = as_json(record) | {"duration_s": record.duration_s}
    write_atomically(folder / RECORD, json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n")


def read_record(folder: Path) -> Record:
    """Read ``run.json``.

    Raises
    ------
    RecordError
        If it is missing or is not a record.
    """
    path = folder / RECORD
    try:
        content = json.loads(path.read_bytes())
        content.pop("duration_s", None)
        content["started_at"] = datetime.fromisoformat(content["started_at"])
        if content["finished_at"]:
            content["finished_at"] = datetime.fromisoformat(content["finished_at"])
        if content["outcome"]:
            content["outcome"] = Outcome(content["outcome"])
        if content["scope"]:
            content["scope"] = Scope(**content["scope"])
        content["approvals"] = tuple(Approval(**approval) for approval in content.get("approvals", ()))
        listed = {name: tuple(content.get(name, ())) for name in _LISTS}
        return Record(**content | listed)
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} is not the record of a run: {error}") from error


def write_atomically(
    path: Path, content: str | bytes, *, redacted: bool = True, drafts: Path | None = None
) -> None:
    """Write a file atomically, with known secrets masked: a full disk or a crash leaves the old file.

    Parameters
    ----------
    redacted
        False for digests and signatures, which masking could only break. Bytes are written as they are.
    drafts
        Folder for the temporary file, on the same disk; a crash may leave it there. By default the file's folder.
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
    """Flush a folder to disk: after a crash a new file exists only if its directory entry does."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
