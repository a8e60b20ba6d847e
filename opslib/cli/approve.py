"""`opslib approve`: sign the plan of a dry run, or of a run that waits for approval."""

import argparse
import json
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.output import print_aside
from opslib.errors import RecordError
from opslib.evidence.run.files import PLAN

if TYPE_CHECKING:
    from opslib.evidence.signing import dsse

EPILOG = """\
examples:
  OPSLIB_SIGNING_KEY_FILE=owner.pem opslib approve 20260131T120000Z-canary-fraud --who owner
  opslib approve 20260131T120000Z-canary-fraud --who owner --ssh-key ~/.ssh/id_ed25519
  opslib approve 20260131T120000Z-canary-fraud --who owner --revoke "the validation set was wrong"
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Approve the plan of a dry run, or of a run that waits for approval: sign it with your own key and write\n"
        "the approval to a file. `opslib run ... --approval FILE` then carries out the plan, if it is the same.\n"
        "--revoke withdraws an approval: keep the file that it writes beside the approvals."
    )
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="RUN", help="a run's id, a part of it, its folder, or a plan.json")
    parser.add_argument(
        "--who",
        metavar="NAME",
        help="your name, as in the `who:` line or the first principal of your key (default: the user of this "
        "machine)",
    )
    parser.add_argument(
        "--meaning",
        default="I agree to this change",
        metavar="TEXT",
        help='meaning of the approval (default: "%(default)s")',
    )
    parser.add_argument(
        "--hours", type=float, default=24.0, metavar="HOURS", help="time until it expires [hours] (default: 24)"
    )
    parser.add_argument(
        "--ssh-key",
        type=Path,
        metavar="FILE",
        help="sign by ssh-keygen with this key of ssh, or with the agent's key of this .pub file "
        "(default: the Ed25519 key in a PEM that signs runs)",
    )
    parser.add_argument(
        "--revoke", default="", metavar="REASON", help="withdraw your approval of this plan, for this reason"
    )
    parser.add_argument(
        "--to",
        type=Path,
        metavar="FILE",
        help="file to write (default: approval-PLAN-WHO.json or revocation-PLAN-WHO.json in this folder)",
    )
    parser.add_argument("--json", action="store_true", help="print digest, key and file as JSON")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign the plan; print it and the path of what was written."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.evidence.signing import approval, revocation, sshsig
    from opslib.evidence.signing.keys import find_signing_key

    given = Path(arguments.name)
    path = given if given.is_file() else find_run(archive_of(arguments), arguments.name) / PLAN
    plan, digest = approval.read_plan(path)
    key = sshsig.find_signer(arguments.ssh_key) if arguments.ssh_key else find_signing_key()
    show = print_aside if arguments.json else print
    show("\n".join(approval.describe_plan(plan)))
    target = arguments.to or _file(revocation.PREFIX if arguments.revoke else "approval-", digest, _who(arguments))
    sign = _revoke if arguments.revoke else _approve
    show(sign(arguments, digest, key, target))
    if arguments.json:
        print(json.dumps({"plan_sha256": digest, "who": _who(arguments), "keyid": key.id, "file": str(target)}))
    return 0


def _approve(arguments: argparse.Namespace, digest: str, key: "dsse.Signer", target: Path) -> str:
    """Write the approval; return what was done."""
    from opslib.evidence.run.record import Approval
    from opslib.evidence.signing import approval

    who, now = _who(arguments), datetime.now(UTC)
    until = now + timedelta(hours=arguments.hours)
    signed = Approval(who, f"{now:%FT%TZ}", arguments.meaning, digest, expires=f"{until:%FT%TZ}")
    _write(target, approval.sign(signed, key))
    return f"plan {digest[:16]} approved by {who} until {until:%F %T} UTC, signed by key {key.id[:16]}: {target}"


def _revoke(arguments: argparse.Namespace, digest: str, key: "dsse.Signer", target: Path) -> str:
    """Write the revocation; return what was done."""
    from opslib.evidence.signing import revocation
    from opslib.evidence.signing.revocation import Revocation

    who, now = _who(arguments), datetime.now(UTC)
    withdrawn = Revocation(who, f"{now:%FT%TZ}", arguments.revoke, digest)
    _write(target, revocation.sign(withdrawn, key))
    return (
        f"approval of plan {digest[:16]} withdrawn by {who}, signed by key {key.id[:16]}: {target}. "
        "Keep it in the folder of the approvals"
    )


def _who(arguments: argparse.Namespace) -> str:
    from opslib.evidence.run.provenance import find_executor

    return str(arguments.who or find_executor()["user"])


def _file(prefix: str, digest: str, who: str) -> Path:
    return Path(f"{prefix}{digest[:12]}-{re.sub(r'[^A-Za-z0-9._@-]', '_', who)}.json")


def _write(target: Path, content: str) -> None:
    """Write a signed file, in a folder that is made if it is not there.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    from opslib.evidence.run.record import write_atomically

    try:
        target.parent.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise RecordError(f"{target.parent} cannot be made: {error}") from error
    write_atomically(target, content, redacted=False)
