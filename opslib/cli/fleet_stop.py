"""`opslib fleet stop`: start no further run of a wave."""

import argparse
import json
from dataclasses import asdict

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options

EPILOG = """\
It takes effect within a second, on every engine. A resume removes it.

example:
  opslib fleet stop december --reason "incident 4711"
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument("--reason", default="", help="why, for the record (default: none)")
    parser.add_argument(
        "--who", default="", metavar="NAME", help="who stops it (default: the user of this machine)"
    )


def run(arguments: argparse.Namespace) -> int:
    """Leave the request in the archive."""
    from opslib.evidence.run.provenance import find_executor
    from opslib.fleet.archive import find_wave, request_stop, stop_request

    root = find_wave(archive_of(arguments), arguments.wave)
    request = stop_request(arguments.who or find_executor()["user"], arguments.reason)
    request_stop(root, request)
    if arguments.json:
        print(json.dumps({"wave": root.name, **asdict(request)}))
    else:
        print(f"{root.name}: no further run starts. Continue it: opslib fleet resume {root.name}")
    return 0
