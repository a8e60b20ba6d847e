"""`opslib init`: write an endpoint's folder from the live endpoint."""

import argparse
import json
from dataclasses import asdict
from pathlib import Path

from opslib.cli.target_option import add_target_option

EPILOG = """\
Secrets in environment variables and tags are not written; their fields hold a placeholder and are listed.
Objectives are suggested from the traffic of the last 24 hours where at least 200 requests were served.

exit codes:
  0  the folder was written            2  nothing was written: a file exists, or there is no such endpoint

example:
  opslib init fraud && opslib check fraud/
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Write endpoint.yml, a YAML for each deployment, and a first policy.yml from a live endpoint.\n"
        "No file is overwritten."
    )
    parser.epilog = EPILOG
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    parser.add_argument(
        "folder", metavar="FOLDER", type=Path, nargs="?", help="where to write (default: the endpoint's name)"
    )
    add_target_option(parser)
    parser.add_argument("--json", action="store_true", help="print what was written as JSON")


def run(arguments: argparse.Namespace) -> int:
    """Write the folder; print the files and what a person must fill in."""
    from opslib.azure.connect import connect
    from opslib.scaffold.folder import write_folder

    folder = arguments.folder or Path(arguments.endpoint)
    written = write_folder(connect(arguments.target), arguments.endpoint, folder)
    if arguments.json:
        print(json.dumps(asdict(written) | {"folder": str(written.folder)}, indent=2))
        return 0
    for name in written.files:
        print(written.folder / name)
    for one in written.left_out:
        print(f"left out: {one}")
    if written.to_fill_in:
        print("Fill in:")
        for one in written.to_fill_in:
            print(f"  {one}")
    print(f"Then: opslib check {written.folder}")
    return 0
