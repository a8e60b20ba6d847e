"""The options that name the archive, the same for every command."""

import argparse
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path


def add_archive_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--runs``."""
    parser.add_argument(
        "--runs",
        type=Path,
        metavar="FOLDER",
        help="archive folder (default: the nearest runs/ in this or a parent folder)",
    )


def add_published_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--from``."""
    parser.add_argument(
        "--from",
        dest="url",
        default="",
        metavar="URL",
        help="read a published archive, https://ACCOUNT.blob.core.windows.net/CONTAINER (default: the local one)",
    )


def archive_of(arguments: argparse.Namespace) -> Path:
    """Return the archive folder that was given, else the nearest."""
    from opslib.evidence.archive.run_folders import find_archive

    return arguments.runs or find_archive()


@contextmanager
def open_archive(
    arguments: argparse.Namespace, wanted: Callable[[str], bool] = lambda _name: True
) -> Iterator[Path]:
    """Open the local archive, or a temporary copy of a published one with the run files that `wanted` selects."""
    if not arguments.url:
        yield archive_of(arguments)
        return
    from opslib.azure.blob_container import open_container
    from opslib.evidence.publish import mirror

    with open_container(arguments.url) as container, mirror(container, wanted) as archive:
        yield archive
