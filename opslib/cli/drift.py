"""`opslib drift`: compare live endpoints with definitions, an inventory, or the end of a run."""

import argparse
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.output import print_aside, write_output
from opslib.cli.target_option import add_target_option

DRIFTED = 3
UNREAD = 4

EPILOG = """\
It only reads, and needs a reader's role. --fix prints the commands that would remove the drift; it runs none.
A secret that BASE has masked is not compared: its value is in no file.
`opslib run drift` leaves the same as a run in the archive; its exit code is 1 where something drifted.

exit codes:
  0  no drift                      3  drift
  1  Azure could not be read       4  no drift, but parts could not be compared; they are named
  2  BASE cannot be compared with

examples:
  opslib drift endpoints/fraud --target azure          the folder of definitions
  opslib drift inventory.json --json                   an earlier `opslib inventory --output inventory.json`
  opslib drift 20260131T120000Z-canary-fraud --fix     the state at the end of a run
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Compare live endpoints and deployments, field by field, with what they should be. What Azure fills in by\n"
        "itself is no drift. Names who changed each resource, by the activity log."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "base",
        metavar="BASE",
        help="folder of definitions, inventory.json, after.json, or a run's id or part of it",
    )
    add_target_option(parser)
    parser.add_argument("--endpoint", default="", metavar="NAME", help="only this endpoint (default: all of BASE)")
    parser.add_argument(
        "--route",
        choices=["auto", "graph", "lists"],
        default="auto",
        help="for an inventory. graph: Azure Resource Graph, some minutes late; lists: paged lists; auto: lists "
        "where it refuses (default: auto)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON in the shape of terraform's plan")
    parser.add_argument("--fix", action="store_true", help="print the runbook or command for each difference")
    parser.add_argument("--output", type=Path, metavar="FILE", help="also write the JSON to a file (default: none)")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Compare; print what differs."""
    from opslib.azure.connect import connect
    from opslib.drift.formats import as_json, as_text, summary
    from opslib.redaction.redact import redact
    from opslib.runbooks.drift import find_base, find_drift

    path = find_base(arguments.base, archive_of(arguments))
    report = find_drift(connect(arguments.target), path, print_aside, arguments.endpoint, arguments.route)
    if arguments.output:
        write_output(arguments.output, redact(as_json(report)) + "\n")
    print(redact(as_json(report) if arguments.json else as_text(report, fix=arguments.fix)))
    if arguments.json:
        print_aside(summary(report))
    return DRIFTED if report.drifted else UNREAD if report.unread else 0
