"""The option ``--sql`` of `opslib runs`: a SELECT over the runs of an archive, as a table or as JSON."""

import argparse
import json
import re
import sys
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.cli.archive_option import archive_of
from opslib.errors import ParameterError
from opslib.model.text import counted

if TYPE_CHECKING:
    from opslib.evidence.table.engine import Answer

MANY_FILES = 1000
"""Files of single runs from which a compaction is recommended [count]."""

_IN_SQL = ("endpoint", "runbook", "outcome", "who", "model")
"""Options whose conditions belong into the SELECT."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]+")


def add_sql_option(parser: argparse.ArgumentParser) -> None:
    """Add ``--sql``."""
    parser.add_argument(
        "--sql",
        default="",
        metavar="SELECT",
        help="answer one SELECT (DuckDB) over the table runs: run, folder, runbook, endpoint, outcome, reason, "
        "started_at, ... (opslib[archive]). With --from the published table of runs is read, in the months from "
        "--since to --until; what it lacks of the ledger is reported",
    )


def run_sql(arguments: argparse.Namespace) -> int:
    """Print the answer to a SELECT, and on stderr how the table compares with the ledger."""
    given = [name for name in _IN_SQL if getattr(arguments, name)]
    if arguments.action or given:
        options = ", ".join([*([arguments.action] if arguments.action else []), *(f"--{name}" for name in given)])
        raise ParameterError(f"--sql cannot be combined with {options}: put the condition into the SELECT")
    answer, notes = _published(arguments) if arguments.url else (_local(arguments), [])
    _print(answer, arguments)
    for note in notes:
        print(note, file=sys.stderr)
    return 0


def _published(arguments: argparse.Namespace) -> "tuple[Answer, list[str]]":
    from opslib.azure.blob_container import open_container
    from opslib.evidence.table.published_table import read_table

    with open_container(arguments.url) as container:
        table = read_table(container, arguments.since, arguments.until)
    answer, compared = table.select(arguments.sql, arguments.limit), table.compare()
    notes = [str(compared) if compared.complete else f"warning: {compared}"]
    if table.single_files > MANY_FILES:
        notes.append(f"{table.single_files} runs are in files of their own: opslib compact {arguments.url}")
    return answer, notes


def _local(arguments: argparse.Namespace) -> "Answer":
    """Answer over the index of a local archive."""
    from opslib.evidence.archive.export import export_parquet
    from opslib.evidence.archive.index import RunQuery, find_runs
    from opslib.evidence.table.engine import select

    rows, _ = find_runs(archive_of(arguments), RunQuery(since=arguments.since, until=arguments.until))
    with tempfile.TemporaryDirectory(prefix="opslib-table-") as scratch:
        path = Path(scratch) / "runs.parquet"
        export_parquet(rows, path)
        return select([path], arguments.sql, arguments.limit)


def _print(answer: "Answer", arguments: argparse.Namespace) -> None:
    if arguments.json:
        rows = [dict(zip(answer.columns, row, strict=True)) for row in answer.rows]
        print(json.dumps(rows, indent=2, ensure_ascii=False, default=str))
    else:
        from opslib.show.table import Table

        cells = [[_text(value) for value in row] for row in answer.rows]
        print(Table(counted(len(cells), "row"), [_text(name) for name in answer.columns], cells).text)
    if answer.more:
        print(f"the first {len(answer.rows)} rows are shown; --limit 0 shows all", file=sys.stderr)


def _text(value: Any) -> str:
    """Return a value on one line, without characters that control a terminal: the table holds what others wrote."""
    return "" if value is None else _CONTROL.sub(" ", str(value))
