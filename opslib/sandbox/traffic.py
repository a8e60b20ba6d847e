"""`opslib sandbox traffic`: open-loop load whose latency counts from when a request was due."""

import argparse


def register(parser: argparse.ArgumentParser) -> None:
    """Add the word's arguments."""
    parser.set_defaults(run=lambda _arguments: 1)
