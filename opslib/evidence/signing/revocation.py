"""Revocations: an approver withdraws the approval of a plan, signed like the approval.

A revocation counts where the run sees it: keep it in the folder of the approvals. A run reads the revocations in
the folder of every approval that it is given.
"""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from datetime import UTC, datetime

from opslib.errors import RecordError
from opslib.evidence.run.record import Approval
from opslib.evidence.signing import dsse

PAYLOAD_TYPE = "application/vnd.opslib.approval-revocation+json"
PREFIX = "revocation-"
"""First part of a revocation's file name."""


@dataclass(frozen=True)
class Revocation:
    """An approver's withdrawal of their approval of a plan: by whom, when, why."""

    who: str
    at: str
    reason: str
    plan_sha256: str

    def objection(self, approval: Approval) -> str:
        """Return why an approval does not count; empty for another's, of another plan, or given afterwards."""
        same = self.who.casefold() == approval.who.casefold() and self.plan_sha256 == approval.plan_sha256
        if not same or approval.times()[0] > datetime.fromisoformat(self.at).astimezone(UTC):
            return ""
        return f"{self.who} withdrew the approval at {self.at}: {self.reason}"


def sign(revocation: Revocation, key: dsse.Signer) -> str:
    """Sign a revocation; return its envelope, one line."""
    return dsse.sign(json.dumps(asdict(revocation)).encode(), PAYLOAD_TYPE, key)


def open_revocations(envelopes: Iterable[str], approvers: dsse.PublicKeys) -> tuple[Revocation, ...]:
    """Verify revocations and return them.

    Raises
    ------
    RecordError
        If one is not a revocation by its signer: it may have been damaged so that an approval counts again.
    """
    found = []
    for envelope in envelopes:
        opened = dsse.verify(envelope.encode(), approvers)
        try:
            revocation = Revocation(**json.loads(opened.payload))
            datetime.fromisoformat(revocation.at)
        except (ValueError, TypeError) as error:
            raise RecordError(f"not a revocation: {error}") from error
        if opened.payload_type != PAYLOAD_TYPE or revocation.who != approvers[opened.keyid].who:
            raise RecordError(f"not a revocation by {approvers[opened.keyid].who}: it names {revocation.who}")
        found.append(revocation)
    return tuple(found)
