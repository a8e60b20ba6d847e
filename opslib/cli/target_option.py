"""The option that names the workspace, the same for every command that has no parameters cell."""

import argparse

from opslib.target import TARGET


def add_target_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--target``."""
    parser.add_argument("--target", default="sandbox", help=f"{TARGET} (default: sandbox)")
