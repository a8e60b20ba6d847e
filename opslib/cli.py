"""`opslib ...`: words to functions, outcomes to exit codes."""

import argparse
import sys
from collections.abc import Sequence


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    parser = argparse.ArgumentParser(prog="opslib", description=__doc__)
    words = parser.add_subparsers(dest="word", required=True)
    from opslib.sandbox import commands as sandbox  # noqa: PLC0415

    sandbox.register(words)
    arguments = parser.parse_args(argv)
    return int(arguments.run(arguments))


if __name__ == "__main__":
    sys.exit(main())
