"""What the commands of `opslib fleet` share."""

import argparse
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option
from opslib.outcome import Outcome

if TYPE_CHECKING:
    from opslib.evidence.run.record import Record


def add_options(parser: argparse.ArgumentParser, *, wave: bool = True) -> None:
    """Add the wave, where the command is about one that has begun, the archive and ``--json``."""
    if wave:
        parser.add_argument("wave", metavar="WAVE", help="the wave's name, or the id of one of its records")
    parser.add_argument("--json", action="store_true", help="print JSON; what people read goes to stderr")
    add_archive_option(parser)


def exit_code(record: "Record") -> int:
    """Return the exit code of a record."""
    return Outcome.FAILED.exit_code if record.outcome is None else record.outcome.exit_code
