"""`opslib run`: execute a runbook."""

import argparse
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.request_options import add_request_options, request_of
from opslib.errors import ParameterError
from opslib.evidence.run.files import NOTEBOOK, RECORD
from opslib.evidence.run.record import ChangeRequest
from opslib.model import Outcome
from opslib.parameters import RUNBOOKS
from opslib.runner.execute import execute
from opslib.show.terminal import show_progress

EPILOG = """\
exit codes:
  0  succeeded, or planned (dry run)      3  rolled back
  1  failed                               4  held: not decided, or not verified
  2  refused: nothing was changed         5  aborted: killed, timed out or interrupted
                                          6  waiting for approval: nothing was changed

example:
  opslib run canary -p endpoint=fraud -p canary=green -p stages='[10, 50, 100]' -p bake_s=600
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Execute a runbook's notebook and leave one folder of evidence in the archive."
    parser.epilog = EPILOG
    parser.add_argument("runbook", metavar="RUNBOOK", help=", ".join(RUNBOOKS))
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        default=[],
        metavar="NAME=VALUE",
        help="parameter of the runbook, named as in the notebook's first cell; repeat it for more",
    )
    parser.add_argument(
        "--timeout-s",
        type=float,
        metavar="SECONDS",
        help="interrupt the run after this time; it undoes its change and ends as aborted (default: no limit)",
    )
    parser.add_argument("--json", action="store_true", help="print the record as JSON; progress goes to stderr")
    add_archive_option(parser)
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Execute the runbook; print the outcome and the notebook's path."""
    given, request = _parameters(arguments.parameter), request_of(arguments)
    return execute_shown(
        arguments.runbook, given, archive_of(arguments), arguments.timeout_s, request, as_json=arguments.json
    )


def execute_shown(
    runbook: str,
    given: Mapping[str, object],
    archive: Path,
    timeout_s: float | None = None,
    request: ChangeRequest | None = None,
    *,
    as_json: bool = False,
) -> int:
    """Execute a runbook with its progress; print how it ended, or its record, and return its exit code."""
    with show_progress(aside=as_json) as on_event:
        folder, record = execute(runbook, given, archive, timeout_s, on_event, request)
    if as_json:
        print((folder / RECORD).read_text(encoding="utf-8"), end="")
    else:
        print(f"{record.outcome}: {record.reason}\n{os.path.relpath(folder / NOTEBOOK)}")
    return Outcome.FAILED.exit_code if record.outcome is None else record.outcome.exit_code


def _parameters(given: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    pairs = [pair.partition("=") for pair in given]
    wrong = [name for name, equals, _ in pairs if not equals or not name.isidentifier()]
    if wrong:
        raise ParameterError(f"-p takes NAME=VALUE, got {', '.join(map(repr, wrong))}")
    twice = {name for name, _, _ in pairs if sum(other == name for other, _, _ in pairs) > 1}
    if twice:
        raise ParameterError(f"-p gives {', '.join(sorted(twice))} more than once")
    return {name: value for name, _, value in pairs}
