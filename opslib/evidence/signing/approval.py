"""Approvals of a plan: signed by a person with a key of their own, checked before a run begins, kept with it.

A dry run leaves a ``plan.json``. Whoever agrees signs its SHA-256 (`sign`); whoever runs the change hands over what
was signed. The runner checks who signed and when; the run compares the plan that it makes with the one agreed to,
before anything is applied; the envelopes stand in the run's ``approvals.jsonl``, under its seal.

Approvers' public keys are kept in a file like other trusted keys, each with a line ``who: NAME`` above its PEM:
``OPSLIB_APPROVERS``, else ``approvers.pem`` of the settings.
"""

import hashlib
import json
import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import asdict, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from opslib.errors import ParameterError, RecordError
from opslib.evidence.run.files import APPROVALS
from opslib.evidence.run.record import Approval, Record
from opslib.evidence.signing import dsse
from opslib.evidence.signing.findings import VerifyFinding, tampered, unknown_key
from opslib.evidence.signing.keys import SigningKey, config_folder, read_public_keys

PAYLOAD_TYPE = "application/vnd.opslib.approval+json"
VARIABLE = "OPSLIB_APPROVERS"


def sign(approval: Approval, key: SigningKey) -> str:
    """Sign an approval; return its envelope, one line."""
    payload = {name: value for name, value in asdict(approval).items() if name != "keyid"}
    return dsse.sign(json.dumps(payload).encode(), PAYLOAD_TYPE, key)


def read_plan(path: Path) -> tuple[dict[str, Any], str]:
    """Read a run's ``plan.json`` and the digest by which it is approved.

    Raises
    ------
    RecordError
        If it is none.
    """
    try:
        content = path.read_bytes()
        plan = dict(json.loads(content))
        plan["changes"], plan["parameters"], plan["workspace"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} is not the plan of a run: {error!r}") from error
    return plan, hashlib.sha256(content).hexdigest()


def describe_plan(plan: Mapping[str, Any]) -> Iterator[str]:
    """Say what somebody is about to agree to."""
    yield f"{plan['runbook']} of {plan['endpoint']} in {'/'.join(plan['workspace'])}"
    for change in plan["changes"]:
        yield f"  {change['what']}: {change['before']} -> {change['after']}"
    yield "  with " + ", ".join(f"{name}={value!r}" for name, value in plan["parameters"].items() if value != "")


def find_approvers() -> dsse.PublicKeys:
    """Whose approvals count; nobody's where no file of keys was kept.

    Raises
    ------
    RecordError
        If the file cannot be read, or a key in it has no name.
    """
    path = Path(os.environ.get(VARIABLE) or config_folder() / "approvers.pem")
    if VARIABLE not in os.environ and not path.exists():
        return {}
    approvers = read_public_keys([path])
    if not all(known.who for known in approvers.values()):
        raise RecordError(f"{path} holds a key of nobody: expected a line `who: NAME` above each PEM")
    return approvers


def open_approval(envelope: bytes, approvers: dsse.PublicKeys) -> Approval:
    """Read what was signed, by whom.

    Raises
    ------
    RecordError
        If it is no approval, was changed, or is in another's name; `dsse.UnknownKey` if no approver signed it.
    """
    opened = dsse.verify(envelope, approvers)
    try:
        said = Approval(**json.loads(opened.payload), keyid=opened.keyid)
        said_at, expires = said.times()
    except (ValueError, TypeError) as error:
        raise RecordError(f"it is no approval: {error}") from error
    known = approvers[opened.keyid]
    if opened.payload_type != PAYLOAD_TYPE or said.who != known.who or expires < said_at:
        raise RecordError(
            f"it is no approval by {known.who}: it is in the name of {said.who}, until {said.expires}"
        )
    return said


def check(
    envelopes: Iterable[str], approvers: dsse.PublicKeys, request_by: Collection[str], seals: SigningKey
) -> tuple[Approval, ...]:
    """Check approvals before a run begins.

    Parameters
    ----------
    envelopes
        What was signed.
    approvers
        Whose approvals count.
    request_by
        Who asks for the change and runs it: nobody of them can agree to it.
    seals
        The key that the run is sealed with; it approves nothing.

    Raises
    ------
    ParameterError
        If one does not hold: nothing was begun.
    """
    checked: list[Approval] = []
    for number, envelope in enumerate(envelopes, start=1):
        if not approvers:
            raise ParameterError(
                f"approval {number} does not hold: nobody may approve here. Keep the approvers' public keys, each "
                f"with a line `who: NAME` above it, in {config_folder() / 'approvers.pem'}, or in a file that "
                f"{VARIABLE} names"
            )
        try:
            approval = open_approval(envelope.encode(), approvers)
        except RecordError as error:
            raise ParameterError(f"approval {number} does not hold: {error}") from error
        now, own = datetime.now(UTC), {name.casefold() for name in request_by}
        wrong = _objection(approval, approvers, now)
        if approval.who.casefold() in own or approval.keyid == seals.id:
            wrong = f"{approval.who} asks for this change or runs it, and cannot agree to it"
        if wrong:
            raise ParameterError(f"approval {number} does not hold: {wrong}")
        checked.append(approval)
    return tuple(checked)


def verify(
    folder: Path, record: Record, sealed_at: datetime, approvers: dsse.PublicKeys
) -> Iterator[VerifyFinding]:
    """Compare a run's approvals with its record; where approvers' keys were kept, prove who signed them.

    The files themselves are under the seal. A run that was refused may hold an approval of another plan.
    """
    path = folder / APPROVALS
    lines = path.read_bytes().splitlines(keepends=True) if path.is_file() else []
    signed = tuple(replace(a, keyid="") for a in record.approvals if a.keyid)
    if len(lines) != len(signed):
        yield tampered(f"it holds {len(lines)} approvals, the record {len(signed)}", record.run_id, APPROVALS)
    for line in lines if approvers else ():
        try:
            approval = open_approval(line, approvers)
        except dsse.UnknownKey as error:
            yield unknown_key(f"an approval is {error}", record.run_id, APPROVALS)
            continue
        except RecordError as error:
            yield tampered(str(error), record.run_id, APPROVALS)
            continue
        objection = _objection(approval, approvers, record.started_at, sealed_at)
        if objection:
            yield unknown_key(objection, record.run_id, APPROVALS)
        if approval not in record.approvals:
            yield tampered(f"the record does not name the approval by {approval.who}", record.run_id, APPROVALS)
        if record.plan_sha256 not in {"", approval.plan_sha256} and record.outcome != "refused":
            yield tampered(f"{approval.who} agreed to another plan than was carried out", record.run_id, APPROVALS)


def _objection(
    approval: Approval, approvers: dsse.PublicKeys, now: datetime, seen_at: datetime | None = None
) -> str:
    """Why an approval does not count for a run that starts now; empty where it does."""
    said_at, expires = approval.times()
    if now > expires:
        return f"the approval by {approval.who} had expired at {approval.expires}"
    return approvers[approval.keyid].objection(said_at, seen_at)
