"""The argument that names the folder of a person's own runbooks, the same for every command."""

import argparse
from pathlib import Path


def add_notebooks_argument(parser: argparse.ArgumentParser) -> None:
    """Add the optional ``DIR``, read as `folder`."""
    parser.add_argument(
        "folder",
        nargs="?",
        type=Path,
        default=Path("notebooks"),
        metavar="DIR",
        help="folder of the runbooks (default: notebooks)",
    )
