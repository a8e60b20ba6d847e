"""`opslib fleet plan`: list the endpoints of a wave."""

import argparse
from pathlib import Path

from opslib.cli.fleet_options import add_options
from opslib.cli.output import print_aside

EPILOG = """\
example:
  opslib fleet plan wave.yml
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="the wave file")
    add_options(parser, wave=False)


def run(arguments: argparse.Namespace) -> int:
    """Plan the wave; print its table, or the plan that people approve."""
    from opslib.fleet.select import plan_wave
    from opslib.redaction.redact import redact
    from opslib.show.fleet import plan_table

    plan, _ = plan_wave(arguments.file, print_aside)
    print(redact(plan.content().rstrip() if arguments.json else plan_table(plan).text))
    return 0
