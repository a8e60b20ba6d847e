"""`opslib compact`: bring the table of published runs in line with the ledger, in one file per month."""

import argparse
import json
import sys
from dataclasses import asdict

EPILOG = """\
example:
  opslib compact https://ACCOUNT.blob.core.windows.net/CONTAINER
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Rewrite the table that `opslib runs --from URL --sql` reads: one Parquet file per month instead of one\n"
        "per run, with the runs that the published ledger holds and no others. Evidence is neither changed nor\n"
        "removed. Needs DuckDB (opslib[archive]). Run it about once a day where runs are published all day."
    )
    parser.epilog = EPILOG
    parser.add_argument("url", metavar="URL", help="https://ACCOUNT.blob.core.windows.net/CONTAINER (required)")
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Compact; print what was done."""
    from opslib.azure.blob_container import open_container
    from opslib.evidence.table.compact import compact

    with open_container(arguments.url) as container:
        done = compact(container)
    if arguments.json:
        print(json.dumps(asdict(done), indent=2))
        return 0
    print(
        f"{done.rows} runs; {done.months} months rewritten, {done.added} rows added from published records, "
        f"{done.dropped} dropped that the ledger does not confirm, {done.removed} replaced files removed"
    )
    if done.not_published:
        print(f"{done.not_published} sealed runs of the ledger are not published", file=sys.stderr)
    if done.kept:
        print(f"{done.kept} replaced files stay: the container is immutable; they are not read", file=sys.stderr)
    return 0
