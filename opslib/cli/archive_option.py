"""The option that names the archive, the same for every command."""

import argparse
from pathlib import Path

from opslib.evidence.archive.run_folders import find_archive


def add_archive_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--runs``."""
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="FOLDER",
        help="archive folder (default: the nearest runs/ in this or a parent folder)",
    )


def archive_of(arguments: argparse.Namespace) -> Path:
    """Return the archive folder that was given, else the nearest."""
    return arguments.runs or find_archive()
