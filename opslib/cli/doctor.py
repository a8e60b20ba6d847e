"""`opslib doctor`: whether runs would work here, and what to fix."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.target_option import add_target_option

EPILOG = """\
It changes nothing. A kernel is started and ended.

exit codes:
  0  no problem; warnings do not count
  1  at least one problem: runs would fail or be refused

example:
  opslib doctor --target azure
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Check machine, Python, package versions, disk, signing key, kernel, credentials, clock, workspace and\n"
        "permissions, and print what to fix."
    )
    parser.epilog = EPILOG
    add_target_option(parser)
    parser.add_argument(
        "--constraints",
        type=Path,
        metavar="FILE",
        help="constraints.txt with the tested versions (default: the one of the source tree)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Check everything; print the results."""
    from opslib.doctor.check import State, as_text
    from opslib.doctor.machine import check_machine
    from opslib.doctor.workspace import check_workspace

    checks = [*check_machine(archive_of(arguments), arguments.constraints), *check_workspace(arguments.target)]
    failed = any(check.state is State.PROBLEM for check in checks)
    if arguments.json:
        print(json.dumps({"ok": not failed, "checks": [asdict(check) for check in checks]}, indent=2))
    else:
        print(as_text(checks))
    return 1 if failed else 0
