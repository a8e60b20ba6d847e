"""``opslib notebooks``: copy the runbooks for editing."""

import argparse
from pathlib import Path
from typing import Any

EPILOG = """\
`opslib run` uses the nearest folder named notebooks, in this or a parent folder, before the shipped ones.
An existing file is never overwritten.

example:
  opslib notebooks        # writes notebooks/canary.ipynb, notebooks/deploy.ipynb and so on
"""


def register(commands: Any) -> None:
    """Add the command to the command line."""
    command = commands.add_parser(
        "notebooks",
        help="copy the runbooks' notebooks into a folder for editing",
        description="Copy the runbooks' notebooks into a folder for editing.",
        epilog=EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    command.add_argument(
        "folder", nargs="?", type=Path, default=Path("notebooks"), metavar="DIR", help="default: notebooks"
    )
    command.set_defaults(run=_copy)


def _copy(arguments: argparse.Namespace) -> int:
    from opslib.runner.notebooks import copy_notebooks  # noqa: PLC0415 - each command loads what it needs

    written = copy_notebooks(arguments.folder)
    for path in written:
        print(path)
    print(f"{len(written)} notebooks copied to {arguments.folder}")
    return 0
