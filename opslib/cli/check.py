"""`opslib check`: check an endpoint's folder without Azure."""

import argparse
from pathlib import Path

from opslib.cli.output import write_output

EPILOG = """\
exit codes:
  0  no errors; warnings do not count
  1  at least one error: a run from this folder would be refused
  2  the folder cannot be checked

example:
  opslib check fraud/ --format sarif --output check.sarif
"""

FORMATS = ("text", "json", "sarif", "junit")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Check endpoint.yml, each deployment's YAML, probes and policy.yml in a folder, without Azure."
    )
    parser.epilog = EPILOG
    parser.add_argument("folder", type=Path, metavar="FOLDER", help="the endpoint's folder")
    parser.add_argument("--format", choices=FORMATS, default="text", help="form of the report (default: text)")
    parser.add_argument(  # after it: the first option of a name gives the default
        "--json", dest="format", action="store_const", const="json", help="the same as --format json"
    )
    parser.add_argument(
        "--output", type=Path, metavar="FILE", help="write the report to a file (default: print it)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Check the folder; print or write the report."""
    from opslib.policy.folder import check_folder
    from opslib.policy.reports import REPORTS

    check = check_folder(arguments.folder)
    report = REPORTS[arguments.format](check)
    if arguments.output:
        write_output(arguments.output, report + "\n")
    else:
        print(report)
    return 1 if check.failed else 0
