"""`opslib fleet resume`: run what is left of a wave."""

import argparse

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options
from opslib.cli.fleet_run import add_engine_options, conduct

EPILOG = """\
Left is what did not start, what waits, what was refused before anything was changed, and what was aborted. A run
that goes on is awaited. The exit codes are those of `opslib fleet run`.

example:
  opslib fleet resume december --approval approvals/
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument("--retry-failed", action="store_true", help="repeat also the runs that did not succeed")
    add_engine_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run what is left, by the plan of the wave's first record."""
    from opslib.fleet.archive import find_wave, open_plan
    from opslib.fleet.plan import WAVE_FILE

    root = find_wave(archive_of(arguments), arguments.wave)
    return conduct(arguments, open_plan(root), (root / WAVE_FILE).read_bytes(), root)
