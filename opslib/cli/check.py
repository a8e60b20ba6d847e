"""`opslib check FOLDER`: check an endpoint's folder without Azure."""

import argparse
from pathlib import Path
from typing import Any

_EXAMPLE = """example:
  opslib check fraud/ --format sarif --output check.sarif

exit codes:
  0  nothing that a run would be refused for
  1  at least one error
  2  the folder cannot be checked
"""


def register(commands: Any) -> None:
    """Add the command."""
    command = commands.add_parser(
        "check",
        help="check an endpoint's definitions, probes and policy without Azure",
        description="Check endpoint.yml, each deployment's YAML, probes and policy.yml of a folder, without Azure.",
        epilog=_EXAMPLE,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument("folder", type=Path, metavar="FOLDER", help="the endpoint's folder")
    command.add_argument(
        "--format",
        choices=["text", "json", "sarif", "junit"],
        default="text",
        help="form of the report (default: text)",
    )
    command.add_argument("--output", type=Path, metavar="FILE", help="write the report there (default: print it)")
    command.set_defaults(run=_check)


def _check(arguments: argparse.Namespace) -> int:
    return run_check(arguments.folder, arguments.format, arguments.output)


def run_check(folder: Path, form: str, output: Path | None) -> int:
    """Check a folder, print or write the report, and return the exit code."""
    from opslib.policy.folder import check_folder  # noqa: PLC0415 - each command loads what it needs
    from opslib.policy.reports import REPORTS  # noqa: PLC0415

    check = check_folder(folder)
    report = REPORTS[form](check)
    if output:
        output.write_text(report + "\n", encoding="utf-8")
    else:
        print(report)
    return 1 if check.failed else 0
