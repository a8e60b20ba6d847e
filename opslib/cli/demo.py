"""`opslib demo`: a whole release on the sandbox."""

import argparse
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.demo.practice import build_practice
from opslib.demo.release import run_demo

EPILOG = """\
exit codes:
  0  every run ended as it should, and no operation cost a client a request
  1  otherwise

example, to practise on a sandbox of your own:
  opslib sandbox up && opslib demo --practice harborshield
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Run a whole release on a sandbox of its own, under live traffic: deploy, canary,\n"
        "scale and roll back a good version, then canary a broken one. It takes two to four\n"
        "minutes; the sandbox is deleted at the end."
    )
    parser.epilog = EPILOG
    add_archive_option(parser)
    parser.add_argument(
        "--practice",
        type=Path,
        metavar="FOLDER",
        help="build only the demo's production, on the running sandbox, and write its files to this new folder",
    )


def run(arguments: argparse.Namespace) -> int:
    """Run the demo, or build what it starts from."""
    if not arguments.practice:
        return run_demo(archive_of(arguments))
    build_practice(arguments.practice)
    print(f"Endpoint fraud serves blue (v1). Definitions, probes and requests: {arguments.practice}. Send traffic:")
    print(f"  opslib sandbox traffic fraud --rps 40 --seconds 3600 --body-file {arguments.practice / 'live.jsonl'}")
    return 0
