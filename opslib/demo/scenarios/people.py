"""The people of a scenario: keys of its own folder, with which they approve plans."""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.evidence.run.files import PLAN
from opslib.evidence.run.record import Approval, write_atomically
from opslib.evidence.signing import approval
from opslib.evidence.signing.approvers import VARIABLE
from opslib.evidence.signing.keys import SigningKey, find_key
from opslib.evidence.signing.public_keys import public_pem

KEYS = "keys"
APPROVALS = "approvals"
VALID_FOR = timedelta(hours=1)


def enrol(folder: Path, *people: str) -> None:
    """Make a key for each person, and the file of approvers with the public ones.

    A demo keeps both in one folder. In production each person keeps their own private key.
    """
    lines = [f"who: {who}\n{public_pem(_key(who, folder).private.public_key())}" for who in people]
    (folder / "approvers.pem").write_text("".join(lines))


@contextmanager
def people_of(folder: Path) -> Iterator[None]:
    """Let the signatures of a folder's people count, where it has any; restore the setting afterwards."""
    before, kept = os.environ.get(VARIABLE), folder / "approvers.pem"
    if kept.exists():
        os.environ[VARIABLE] = str(kept)
    try:
        yield
    finally:
        os.environ.pop(VARIABLE, None)
        if before is not None:
            os.environ[VARIABLE] = before


def approve(run: Path, who: str, folder: Path) -> Path:
    """Sign the plan of a run with a person's key, and keep the approval in the endpoint's folder."""
    _, digest = approval.read_plan(run / PLAN)
    now = datetime.now(UTC)
    until = now + VALID_FOR
    agreed = Approval(who, f"{now:%FT%TZ}", "I agree to this change", digest, expires=f"{until:%FT%TZ}")
    target = folder / APPROVALS / f"{who}-{digest[:12]}.json"
    target.parent.mkdir(exist_ok=True)
    write_atomically(target, approval.sign(agreed, _key(who, folder)), redacted=False)
    return target


def _key(who: str, folder: Path) -> SigningKey:
    return find_key(folder / KEYS / f"{who}.pem", f"key of {who}")
