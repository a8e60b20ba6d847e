"""`opslib runs`: list the runs of an archive, show one, export them."""

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, add_published_option, open_archive
from opslib.cli.output import write_output
from opslib.cli.sql_option import add_sql_option, run_sql
from opslib.errors import ParameterError
from opslib.evidence.run.files import NOTEBOOK, RECORD
from opslib.outcome import Outcome

if TYPE_CHECKING:
    from opslib.evidence.archive.index import RunQuery
    from opslib.evidence.archive.run_row import RunRow

REASON_WIDTH = 90
"""Longest reason in the list; `opslib runs show RUN` has all of it [characters]."""

EPILOG = """\
examples:
  opslib runs --endpoint fraud --outcome rolled_back --since 2026-01-01
  opslib runs show 20260131T120000Z-canary-fraud
  opslib runs export runs.parquet
  opslib runs report && xdg-open runs-report.html
  opslib runs export RUN --bom > bom.cdx.json
  opslib runs --from URL --sql "SELECT endpoint, count(*) FROM runs WHERE outcome = 'failed' GROUP BY 1"
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "List the runs of the archive, newest first: outcome, folder, reason.\n"
        "`show RUN` prints the summary of one run. `report [FILE]` writes a page of all matching runs with\n"
        "filters. `export FILE.parquet` writes them as a table, `export FOLDER` copies their notebooks for\n"
        "scrapbook, `export RUN --bom` prints a CycloneDX 1.6 ML-BOM of what a run left in production.\n"
        "`controls [RUN]` lists the controls (NIST SP 800-53, SOC 2, ISO 27001, EU AI Act) that each piece of\n"
        "evidence serves."
    )
    parser.epilog = EPILOG
    parser.add_argument("action", nargs="?", choices=list(_ACTIONS), help="what to do (default: list the runs)")
    parser.add_argument(
        "name",
        nargs="?",
        metavar="RUN_OR_FILE",
        help="show, controls, export --bom: a run's id, or a part of it; export, report: what to write",
    )
    parser.add_argument("--endpoint", default="", metavar="NAME", help="only runs on this endpoint (default: all)")
    parser.add_argument(
        "--runbook", default="", metavar="NAME", help="only runs of this runbook, such as canary (default: all)"
    )
    parser.add_argument(
        "--outcome",
        default="",
        choices=[*(one.value for one in Outcome), "unfinished"],
        metavar="OUTCOME",
        help="only runs with this outcome, such as failed; or unfinished (default: all)",
    )
    parser.add_argument(
        "--who",
        default="",
        metavar="NAME",
        help="only runs that this person requested, ran or approved; a part of the name suffices (default: all)",
    )
    parser.add_argument(
        "--model",
        default="",
        metavar="NAME",
        help="only runs with this model, such as fraud:3; a part of the name suffices (default: all)",
    )
    parser.add_argument(
        "--since",
        type=_time,
        metavar="TIME",
        help="only runs started at or after this time, such as 2026-01-31; without a zone, UTC "
        "(default: the first run's)",
    )
    parser.add_argument("--until", type=_time, metavar="TIME", help="only runs started by this time (default: now)")
    parser.add_argument(
        "--limit", type=int, default=50, metavar="N", help="list at most N runs, 0 for all (default: 50)"
    )
    parser.add_argument("--html", action="store_true", help="show: copy the report, print the path of the copy")
    parser.add_argument("--bom", action="store_true", help="export: the bill of materials of one run")
    parser.add_argument("--json", action="store_true", help="list, show, controls: print JSON")
    add_archive_option(parser)
    add_published_option(parser)
    add_sql_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """List, show or export runs."""
    if arguments.sql:
        return run_sql(arguments)
    if arguments.action == "controls" and not arguments.name:
        return _print_controls(None, arguments)
    with open_archive(arguments, _needed_files(arguments)) as archive:
        return _ACTIONS.get(arguments.action, _list)(archive, arguments)


def _list(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.index import find_runs

    rows, total = find_runs(archive, _query(arguments, arguments.limit))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    for row in rows:
        print(f"{_state(archive, row):<12} {os.path.relpath(archive / row.folder)}  {_short(row.reason)}")
    if not rows:
        print(_nothing_in(archive), file=sys.stderr)
    if total > len(rows):
        print(f"{len(rows)} of {total} runs listed; --limit 0 lists all", file=sys.stderr)
    return 0


def _short(reason: str) -> str:
    """Return a reason on one line; of a refusal what blocked it, not how many checks did."""
    first, *rest = reason.splitlines() or [""]
    text = " ".join(" ".join(rest).split()) if rest and first.endswith(":") else first
    return text if len(text) <= REASON_WIDTH else f"{text[: REASON_WIDTH - 3]}..."


def _nothing_in(archive: Path) -> str:
    if archive.is_dir():
        return f"no matching runs in {archive}"
    return f"there is no archive {archive}: change to the folder of your runs, or name it with --runs FOLDER"


def _state(archive: Path, row: "RunRow") -> str:
    """Return a run's outcome; without one, whether it is still running."""
    from opslib.evidence.run.run_lock import is_held

    if row.quarantined:
        return "quarantined"
    return row.outcome or ("running" if is_held(archive / row.folder) else "incomplete")


def _show(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run
    from opslib.evidence.present.summary import copy_report, summarize

    folder = find_run(archive, _name(arguments))
    if arguments.html:
        print(copy_report(folder))
    elif arguments.json:
        print((folder / RECORD).read_text(encoding="utf-8"), end="")
    else:
        print(summarize(folder))
    return 0


def _report(archive: Path, arguments: argparse.Namespace) -> int:
    """Write the index page beside the archive, and print its path."""
    from opslib.evidence.archive.index import find_runs
    from opslib.evidence.present.index_page import index_html
    from opslib.evidence.verify.verify import verify
    from opslib.redaction.redact import redact

    target = Path(arguments.name or "runs-report.html").absolute()
    if target.is_relative_to(archive.absolute()):
        raise ParameterError(f"{target} is inside the archive, where only evidence may be: name another place")
    rows, _ = find_runs(archive, _query(arguments, 0))
    findings = {one.run: f"{one.state}: {one.message}" for one in reversed(verify(archive).findings)}
    checked = None if arguments.url else lambda run: findings.get(run, "")
    write_output(target, redact(index_html(archive.absolute(), rows, target, checked, datetime.now(UTC))))
    print(os.path.relpath(target))
    return 0


def _controls(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run

    return _print_controls(find_run(archive, arguments.name), arguments)


def _print_controls(folder: Path | None, arguments: argparse.Namespace) -> int:
    from opslib.evidence.present import controls

    print(json.dumps(controls.as_json(folder), indent=2) if arguments.json else controls.as_text(folder))
    return 0


def _export(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.index import find_runs
    from opslib.evidence.archive.run_folders import find_run

    if arguments.bom:
        from opslib.evidence.present.bom import production_bom

        print(json.dumps(production_bom(find_run(archive, _name(arguments))), indent=2, ensure_ascii=False))
        return 0
    target = Path(_name(arguments))
    from opslib.evidence.archive.export import export_notebooks, export_parquet

    rows, _ = find_runs(archive, _query(arguments, 0))
    if target.suffix == ".parquet":
        export_parquet(rows, target)
        print(f"{len(rows)} runs: {target}")
    else:
        print(f"{export_notebooks(archive, rows, target)} notebooks: {target}")
    return 0


def _needed_files(arguments: argparse.Namespace) -> Callable[[str], bool]:
    """Return which files of published runs the action needs; a list needs the records only."""
    if arguments.action in {"show", "controls"} or arguments.bom:
        return lambda name: str(arguments.name) in name
    suffixes = (f"/{RECORD}", f"/{NOTEBOOK}") if arguments.action == "export" else (f"/{RECORD}",)
    return lambda name: name.endswith(suffixes)


def _query(arguments: argparse.Namespace, limit: int) -> "RunQuery":
    from opslib.evidence.archive.index import RunQuery

    names: Sequence[str] = ("endpoint", "runbook", "outcome", "since", "until", "who", "model")
    return RunQuery(**{name: getattr(arguments, name) for name in names}, limit=limit)


def _name(arguments: argparse.Namespace) -> str:
    if not arguments.name:
        expected = {"show": "RUN", "export": "FILE.parquet, FOLDER, or RUN --bom"}[arguments.action]
        raise ParameterError(f"a name is missing; expected: opslib runs {arguments.action} {expected}")
    return str(arguments.name)


def _time(text: str) -> datetime:
    """Read an ISO 8601 time; without a zone it is UTC."""
    try:
        time = datetime.fromisoformat(text)
    except ValueError:
        raise argparse.ArgumentTypeError(
            f"expected a date or time such as 2026-01-31 or 2026-01-31T14:00+01:00, got {text!r}"
        ) from None
    return time if time.tzinfo else time.replace(tzinfo=UTC)


_ACTIONS = {"show": _show, "report": _report, "export": _export, "controls": _controls}
"""What can be done with runs beside listing them."""
