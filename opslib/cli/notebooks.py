"""`opslib notebooks`: copy the runbooks for editing."""

import argparse

from opslib.cli.notebooks_option import add_notebooks_argument

EPILOG = """\
`opslib run` uses the nearest folder named notebooks, in this or a parent folder, before the shipped ones.
An existing file is never overwritten.

example:
  opslib notebooks        # writes notebooks/canary.ipynb, notebooks/deploy.ipynb and so on
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Copy the runbooks' notebooks into a folder for editing."
    parser.epilog = EPILOG
    add_notebooks_argument(parser)


def run(arguments: argparse.Namespace) -> int:
    """Copy the notebooks; print their paths."""
    from opslib.runner.notebooks import copy_notebooks

    written = copy_notebooks(arguments.folder)
    for path in written:
        print(path)
    print(f"{len(written)} notebooks copied to {arguments.folder}")
    return 0
