"""`opslib approve`: sign the plan of a dry run."""

import argparse
import re
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.evidence.archive.run_folders import find_run
from opslib.evidence.run.files import PLAN
from opslib.evidence.run.provenance import find_executor
from opslib.evidence.run.record import Approval, write_atomically
from opslib.evidence.signing import approval
from opslib.evidence.signing.keys import find_signing_key

EPILOG = """\
example:
  OPSLIB_SIGNING_KEY_FILE=owner.pem opslib approve 20260131T120000Z-canary-fraud --who owner
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Approve the plan of a dry run: sign it with your own key and write the approval to a file.\n"
        "`opslib run ... --approval FILE` then starts the run, if it makes the same plan."
    )
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="RUN", help="a run's id, a part of it, its folder, or a plan.json")
    parser.add_argument(
        "--who", metavar="NAME", help="your name, as in the `who:` line of your key (default: this machine's user)"
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
        "--to", type=Path, metavar="FILE", help="file to write (default: approval-PLAN-WHO.json in this folder)"
    )
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Sign the plan; print it and the approval's path."""
    given = Path(arguments.name)
    path = given if given.is_file() else find_run(archive_of(arguments), arguments.name) / PLAN
    plan, digest = approval.read_plan(path)
    who, now, key = arguments.who or find_executor()["user"], datetime.now(UTC), find_signing_key()
    until = now + timedelta(hours=arguments.hours)
    signed = Approval(who, f"{now:%FT%TZ}", arguments.meaning, digest, expires=f"{until:%FT%TZ}")
    target = arguments.to or Path(f"approval-{digest[:12]}-{re.sub(r'[^A-Za-z0-9._@-]', '_', who)}.json")
    write_atomically(target, approval.sign(signed, key), redacted=False)
    print("\n".join(approval.describe_plan(plan)))
    print(f"plan {digest[:16]} approved by {who} until {until:%F %T} UTC, signed by key {key.id[:16]}: {target}")
    return 0
