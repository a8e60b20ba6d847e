"""`opslib publish`: copy sealed runs to blob storage."""

import argparse
import json
import sys
from dataclasses import asdict

from opslib.cli.archive_option import add_archive_option, archive_of

EPILOG = """\
example:
  opslib publish --to https://ACCOUNT.blob.core.windows.net/CONTAINER
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Copy sealed runs, ledger, checkpoints and public keys to a blob container, as you\n"
        "(DefaultAzureCredential). Blobs are created and never overwritten; an interrupted copy can be repeated.\n"
        "Quarantined and altered runs are not published."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "names", nargs="*", metavar="RUN", help="a run's id or a part of it (default: all sealed runs)"
    )
    parser.add_argument(
        "--to", required=True, metavar="URL", help="https://ACCOUNT.blob.core.windows.net/CONTAINER (required)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Publish; print how many files were copied and which runs were not."""
    from opslib.azure.blob_container import open_container
    from opslib.evidence.archive.run_folders import find_run
    from opslib.evidence.publish import publish

    archive = archive_of(arguments)
    with open_container(arguments.to) as container:
        folders = [find_run(archive, name) for name in arguments.names]
        published = publish(archive, folders, container)
    if arguments.json:
        print(json.dumps(asdict(published), indent=2))
        return 0
    print(f"{published.uploaded} files uploaded, {published.present} already there, all verified: {arguments.to}")
    for reason in published.left_out:
        print(f"not published: {reason}", file=sys.stderr)
    return 0
