"""Approvals of a plan: signed by a person with their own key, checked before a run starts, kept with the run.

A dry run leaves a ``plan.json``. The approver signs its SHA-256 (`sign`), and the run is started with that
approval. The runner checks who signed it and when. Before it applies anything, the run compares its plan with the
approved one. The envelopes are in the run's ``approvals.jsonl``, one in each line, and are covered by its seal.

The approvers' public keys are in the file that ``OPSLIB_APPROVERS`` names, else in ``approvers.pem`` of the
settings, each with a line ``who: NAME`` above its PEM.
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
    """Read a ``plan.json``; return it with its SHA-256, which an approval names.

    Raises
    ------
    RecordError
        If it is not a plan.
    """
    try:
        content = path.read_bytes()
        plan = dict(json.loads(content))
        plan["changes"], plan["parameters"], plan["workspace"]
    except (OSError, ValueError, TypeError, KeyError) as error:
        raise RecordError(f"{path} is not the plan of a run: {error!r}") from error
    return plan, hashlib.sha256(content).hexdigest()


def describe_plan(plan: Mapping[str, Any]) -> Iterator[str]:
    """Yield lines that describe the plan to its approver."""
    yield f"{plan['runbook']} of {plan['endpoint']} in {'/'.join(plan['workspace'])}"
    for change in plan["changes"]:
        yield f"  {change['what']}: {change['before']} -> {change['after']}"
    yield "  with " + ", ".join(f"{name}={value!r}" for name, value in plan["parameters"].items() if value != "")


def find_approvers() -> dsse.PublicKeys:
    """Return the approvers' public keys; empty if no file of approvers exists.

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
        raise RecordError(f"{path} contains a key without a `who:` line; expected `who: NAME` above each PEM")
    return approvers


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


def check(
    envelopes: Iterable[str], approvers: dsse.PublicKeys, request_by: Collection[str], seals: SigningKey
) -> tuple[Approval, ...]:
    """Check approvals before a run starts.

    Parameters
    ----------
    envelopes
        The signed approvals.
    approvers
        Public keys of the approvers.
    request_by
        Who requested the change and who runs it; they cannot approve it.
    seals
        The key that seals the run; it cannot approve the run.

    Raises
    ------
    ParameterError
        If an approval is rejected; nothing was started.
    """
    checked: list[Approval] = []
    for number, envelope in enumerate(envelopes, start=1):
        if not approvers:
            raise ParameterError(
                f"approval {number} rejected: no approvers are configured. Put the approvers' public keys, each "
                f"with a line `who: NAME` above it, into {config_folder() / 'approvers.pem'} or into a file that "
                f"{VARIABLE} names"
            )
        try:
            approval = open_approval(envelope.encode(), approvers)
        except RecordError as error:
            raise ParameterError(f"approval {number} rejected: {error}") from error
        now, own = datetime.now(UTC), {name.casefold() for name in request_by}
        wrong = _objection(approval, approvers, now)
        if approval.who.casefold() in own or approval.keyid == seals.id:
            wrong = (
                f"{approval.who} requests or runs this change, or owns the key that seals it, so cannot approve it"
            )
        if wrong:
            raise ParameterError(f"approval {number} rejected: {wrong}")
        checked.append(approval)
    return tuple(checked)


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
        if record.plan_sha256 not in {"", approval.plan_sha256} and record.outcome != "refused":
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
