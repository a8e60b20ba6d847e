"""`opslib inventory`: list all deployments that the caller can read."""

import argparse
import sys
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.output import print_aside, write_output
from opslib.cli.target_option import add_target_option
from opslib.errors import ParameterError
from opslib.model import EstateScope

if TYPE_CHECKING:
    from opslib.inventory.rows import Inventory

FORMATS = ("table", "json", "csv", "tsv", "parquet")

EPILOG = """\
It only reads, and needs a reader's role. `opslib run inventory` leaves the same as a run in the archive.

exit codes:
  0  everything was read
  1  nothing could be read         4  parts could not be read; they are named, with the reason

example:
  opslib inventory --target azure --definitions endpoints/ --output inventory.csv
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "List all deployments of all workspaces that the caller can read: state, region, instances, traffic,\n"
        "model, environment, owner, cost per month, requests of the last 24 hours, last change and by whom,\n"
        "lease, policy. Deployments that are billed without use are marked."
    )
    parser.epilog = EPILOG
    add_target_option(parser)
    for name, what in (
        ("subscription", "subscription, by its id"),
        ("group", "resource group"),
        ("workspace", "workspace"),
    ):
        text = f"only this {what}; repeat it for more (default: all)"
        parser.add_argument(f"--{name}", action="append", default=[], metavar="NAME", help=text)
    parser.add_argument("--endpoint", default="", metavar="NAME", help="only endpoints of this name (default: all)")
    parser.add_argument(
        "--definitions", default="", metavar="FOLDER", help="folder whose policies name the owners (default: none)"
    )
    parser.add_argument(
        "--route",
        choices=["auto", "graph", "lists"],
        default="auto",
        help="graph: Azure Resource Graph; lists: paged lists; auto: lists where it refuses (default: auto)",
    )
    parser.add_argument(
        "--format", choices=FORMATS, default="", help="default: by the suffix of --output, else table"
    )
    parser.add_argument(
        "--json", dest="format", action="store_const", const="json", help="the same as --format json"
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write to a file (default: print)")


def run(arguments: argparse.Namespace) -> int:
    """Read the inventory; print or write it."""
    from opslib.azure.connect import connect
    from opslib.inventory.formats import export_parquet
    from opslib.runbooks.inventory import conclusion, read_inventory

    form, output = _form(arguments.format, arguments.output), arguments.output
    a = arguments
    scope = EstateScope(tuple(a.subscription), tuple(a.group), tuple(a.workspace), a.endpoint)
    inventory = read_inventory(connect(a.target), scope, a.definitions, print_aside, a.route)
    if form == "parquet":
        export_parquet(inventory, output)
    elif output:
        write_output(output, _text(inventory, form))
    else:
        print(_text(inventory, form), end="" if form in {"csv", "tsv"} else "\n")
    outcome, reason = conclusion(inventory)
    print(reason, file=sys.stderr)
    return outcome.exit_code


def _form(given: str, output: Path | None) -> str:
    """Return the form of the output.

    Raises
    ------
    ParameterError
        If Parquet is to be printed.
    """
    form = given or (output.suffix.removeprefix(".") if output else "")
    form = form if form in FORMATS else "table"
    if form == "parquet" and output is None:
        raise ParameterError("Parquet is not text: pass --output FILE.parquet")
    return form


def _text(inventory: "Inventory", form: str) -> str:
    """Return the inventory in a form, with the secrets of deployments masked."""
    from opslib.inventory.formats import TEXTS
    from opslib.redaction.redact import redact
    from opslib.show.inventory import inventory_table

    return redact(TEXTS[form](inventory) if form in TEXTS else inventory_table(inventory).text)
