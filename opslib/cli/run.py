"""`opslib run`: execute a runbook."""

import argparse
from collections.abc import Sequence

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.request_options import add_request_options, request_of
from opslib.errors import ParameterError
from opslib.import_shims import skip_pydantic_plugins
from opslib.runbook_names import RUNBOOK_NAMES, require_runbook

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
    parser.add_argument("runbook", metavar="RUNBOOK", help=", ".join(RUNBOOK_NAMES))
    parser.add_argument(
        "-p",
        "--parameter",
        action="append",
        type=_pair,
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
    given = _parameters(arguments.parameter)
    require_runbook(arguments.runbook)
    if arguments.own_process:
        skip_pydantic_plugins()
    from opslib.parameters import RUNBOOKS

    RUNBOOKS[arguments.runbook].check(given)
    from opslib.cli.shown_run import execute_shown
    from opslib.runner.own_process import prepare_own_process

    if arguments.own_process:
        prepare_own_process(at_once=arguments.runbook == "rollback")
    request, archive = request_of(arguments), archive_of(arguments)
    return execute_shown(arguments.runbook, given, archive, arguments.timeout_s, request, as_json=arguments.json)


def _pair(text: str) -> str:
    """Refuse papermill's form, with a blank, before argparse finds that its value is an unknown argument."""
    name, equals, _ = text.partition("=")
    if not equals or not name.isidentifier():
        raise ParameterError(f"-p takes NAME=VALUE, such as -p endpoint=fraud, got {name!r}")
    return text


def _parameters(given: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    pairs = [pair.partition("=") for pair in given]
    twice = {name for name, _, _ in pairs if sum(other == name for other, _, _ in pairs) > 1}
    if twice:
        raise ParameterError(f"-p gives {', '.join(sorted(twice))} more than once")
    return {name: value for name, _, value in pairs}
