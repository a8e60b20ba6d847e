"""Approvals of a plan: signed by a person with their own key, checked before a run starts, kept with the run.

A run leaves a ``plan.json``. The approver signs its SHA-256 (`sign`), with an Ed25519 key in a PEM or with a key of
ssh, and a run is started with that approval. The runner checks who signed it and when. Before it applies anything,
the run compares its plan with the approved one. The envelopes are in the run's ``approvals.jsonl``, one in each
line, and are covered by its seal.
"""

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from opslib.errors import ParameterError, RecordError
from opslib.evidence.run.files import APPROVALS
from opslib.evidence.run.record import Approval, Record, write_atomically, write_record
from opslib.evidence.signing import dsse
from opslib.evidence.signing.approvers import VARIABLE
from opslib.evidence.signing.findings import VerifyFinding, tampered, unknown_key
from opslib.evidence.signing.key_files import APPROVERS, config_folder
from opslib.evidence.signing.revocation import Revocation
from opslib.model import Outcome

PAYLOAD_TYPE = "application/vnd.opslib.approval+json"

CLOCKS_APART = timedelta(minutes=5)
"""How far the clock of an approver's machine may be ahead."""


def sign(approval: Approval, key: dsse.Signer) -> str:
    """Sign an approval; return its envelope, one line."""
    payload = {name: value for name, value in asdict(approval).items() if name != "keyid"}
    return dsse.sign(json.dumps(payload).encode(), PAYLOAD_TYPE, key)


def read_plan(path: Path) -> tuple[dict[str, Any], str]:
    """Read a ``plan.json``; return it with its SHA-256, which an approval names.

    Raises
    ------
    RecordError
        If it is not a plan.
    """
    try:
        content = path.read_bytes()
        plan = dict(json.loads(content))
        tuple(describe_plan(plan))  # everything that the approver reads is there
    except FileNotFoundError as error:
        raise RecordError(
            f"{path.parent} has no {path.name}: the run made no plan. `opslib runs show RUN` shows why; approve a "
            "run that was planned or waits for approval"
        ) from error
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"{path} is not the plan of a run: {error!r}") from error
    return plan, hashlib.sha256(content).hexdigest()


def describe_plan(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines that describe the plan to its approver."""
    yield f"{plan['runbook']} of {plan['endpoint']} in {'/'.join(plan['workspace'])}"
    for change in plan["changes"]:
        yield f"  {change['what']}: {change['before']} -> {change['after']}"
    for name, digest in plan.get("files", {}).items():
        yield f"  file {name}: SHA-256 {digest[:16]}"
    yield "  with " + ", ".join(f"{name}={value!r}" for name, value in plan["parameters"].items() if value != "")


def open_approval(envelope: bytes, approvers: dsse.PublicKeys) -> Approval:
    """Verify an approval and return it.

    Raises
    ------
    RecordError
        If it is not an approval, was changed, or names another person than its signer; `dsse.UnknownKey` if no
        approver signed it.
    """
    opened = dsse.verify(envelope, approvers)
    try:
        approval = Approval(**json.loads(opened.payload), keyid=opened.keyid)
        given, expires = approval.times()
    except (ValueError, TypeError) as error:
        raise RecordError(f"not an approval: {error}") from error
    known = approvers[opened.keyid]
    if opened.payload_type != PAYLOAD_TYPE or approval.who != known.who or expires < given:
        raise RecordError(
            f"not an approval by {known.who}: it names {approval.who} and expires at {approval.expires}"
        )
    return approval


@dataclass(frozen=True)
class ApprovalCheck:
    """By whom and against what approvals are checked before a run starts.

    Attributes
    ----------
    approvers
        Public keys of the approvers.
    request_by
        Who requested the change and who runs it; they cannot approve it.
    seals
        Id of the key that seals the run; it cannot approve the run.
    revocations
        Approvals that their givers withdrew.
    """

    approvers: dsse.PublicKeys
    request_by: Collection[str]
    seals: str
    revocations: tuple[Revocation, ...] = ()

    def require(self, envelopes: Iterable[str]) -> tuple[Approval, ...]:
        """Return the approvals.

        Raises
        ------
        ParameterError
            If one is not valid; nothing was started.
        """
        checked = []
        for number, envelope in enumerate(envelopes, start=1):
            approval, problem = self._open(envelope)
            if approval is None or problem:
                raise ParameterError(f"approval {number} rejected: {problem}")
            checked.append(approval)
        return tuple(checked)

    def select(self, envelopes: Iterable[str]) -> tuple[dict[str, Approval], tuple[str, ...]]:
        """Return the valid approvals by their envelope, and why each of the others is not valid."""
        valid, rejected = {}, []
        for envelope in envelopes:
            approval, problem = self._open(envelope)
            if approval is None or problem:
                rejected.append(problem)
            else:
                valid[envelope] = approval
        return valid, tuple(rejected)

    def _open(self, envelope: str) -> tuple[Approval | None, str]:
        """Return an approval, and why it is not valid."""
        if not self.approvers:
            return None, describe_no_approvers()
        try:
            approval = open_approval(envelope.encode(), self.approvers)
        except RecordError as error:
            return None, str(error)
        if approval.who.casefold() in {name.casefold() for name in self.request_by} or approval.keyid == self.seals:
            return approval, (
                f"{approval.who} requests or runs this change, or owns the key that seals it, so cannot approve it"
            )
        now = datetime.now(UTC)
        problem = _objection(approval, self.approvers, now)
        if approval.times()[0] > now + CLOCKS_APART:
            problem = f"the approval by {approval.who} is of {approval.at}, which is in the future"
        return approval, problem or next(
            (text for one in self.revocations if (text := one.objection(approval))), ""
        )


def describe_no_approvers() -> str:
    """Return where the approvers' keys have to be, without which no approval counts."""
    keys, allowed_signers = (config_folder() / name for name in APPROVERS)
    return (
        "no approvers are configured. Put the approvers' public keys, each with a line `who: NAME` above it, into "
        f"{keys}, allowed signers of ssh into {allowed_signers}, or either into a file that {VARIABLE} names"
    )


def keep_approvals(folder: Path, record: Record, dropped: Collection[Approval]) -> Record:
    """Remove approvals of other plans from a run's record and its ``approvals.jsonl``; return the record."""
    signed = [approval for approval in record.approvals if approval.keyid]
    path = folder / APPROVALS
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    kept = [line for line, approval in zip(lines, signed, strict=True) if approval not in dropped]
    if kept:
        write_atomically(path, b"".join(kept))
    else:
        path.unlink(missing_ok=True)
    record = replace(record, approvals=tuple(a for a in record.approvals if a not in dropped))
    write_record(folder, record)
    return record


def verify(
    folder: Path, record: Record, sealed_at: datetime, approvers: dsse.PublicKeys
) -> Iterator[VerifyFinding]:
    """Compare a run's approvals with its record; with the approvers' keys, also verify their signatures.

    The seal covers the file itself. A refused run may contain an approval of another plan.
    """
    path = folder / APPROVALS
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    signed = tuple(replace(a, keyid="") for a in record.approvals if a.keyid)
    if len(lines) != len(signed):
        yield tampered(f"contains {len(lines)} approvals, the record {len(signed)}", record.run_id, APPROVALS)
    for line in lines if approvers else ():
        try:
            approval = open_approval(line, approvers)
        except dsse.UnknownKey as error:
            yield unknown_key(f"approval {error}", record.run_id, APPROVALS)
            continue
        except RecordError as error:
            yield tampered(str(error), record.run_id, APPROVALS)
            continue
        objection = _objection(approval, approvers, record.started_at, sealed_at)
        if objection:
            yield unknown_key(objection, record.run_id, APPROVALS)
        if approval not in record.approvals:
            yield tampered(f"the record does not contain the approval by {approval.who}", record.run_id, APPROVALS)
        if record.plan_sha256 not in {"", approval.plan_sha256} and record.outcome is not Outcome.REFUSED:
            yield tampered(
                f"{approval.who} approved another plan than the one that was carried out", record.run_id, APPROVALS
            )


def _objection(
    approval: Approval, approvers: dsse.PublicKeys, now: datetime, seen_at: datetime | None = None
) -> str:
    """Return why an approval is not valid for a run that starts at `now`; empty if it is valid."""
    given, expires = approval.times()
    if now > expires:
        return f"the approval by {approval.who} had expired at {approval.expires}"
    return approvers[approval.keyid].objection(given, seen_at)
