"""`opslib status`: the state of one endpoint now."""

import argparse
import sys
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.target_option import add_target_option
from opslib.displayed import view
from opslib.errors import ParameterError

if TYPE_CHECKING:
    from opslib.runbooks.status import EndpointStatus

CONCERN = 3
UNREAD = 4

EPILOG = """\
It needs a reader's role, and leaves no evidence; `opslib run` inventory, drift, review and diagnose do.

exit codes:
  0  nothing to look at
  1  the endpoint could not be read        3  a state, alert, lease or the error budget needs a person
  2  refused: there is no such endpoint    4  a part could not be read; it is named

examples:
  opslib status fraud
  opslib status fraud --watch 5
  opslib status fraud --json | jq .error_budget.left
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Show an endpoint's traffic, states, lease, last runs, firing alerts, and the error budget that is left:\n"
        "the policy's max_failure_rate times the requests of the window, less the failures. It only reads."
    )
    parser.epilog = EPILOG
    parser.add_argument("endpoint", metavar="ENDPOINT", help="the endpoint's name")
    add_target_option(parser)
    parser.add_argument(
        "--policy", type=Path, metavar="FILE", help="policy.yml with the objectives (default: ENDPOINT/policy.yml)"
    )
    parser.add_argument(
        "--window-h", type=float, default=24.0, metavar="HOURS", help="window of the error budget (default: 24)"
    )
    parser.add_argument(
        "--watch",
        type=float,
        nargs="?",
        const=10.0,
        metavar="SECONDS",
        help="read again and again, at this interval, until interrupted (default interval: 10)",
    )
    parser.add_argument("--json", action="store_true", help="print one line of JSON each time")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Show the state; with --watch until it is interrupted."""
    from opslib.azure.connect import connect
    from opslib.runbooks.status import find_policy, read_status

    window = timedelta(hours=arguments.window_h)
    if not timedelta(minutes=5) <= window <= timedelta(days=90):
        raise ParameterError(f"--window-h must be from 0.1 to 2160 (90 days), got {arguments.window_h:g}")
    workspace, archive = connect(arguments.target), archive_of(arguments)
    policy = find_policy(arguments.policy, arguments.endpoint)

    def read() -> "EndpointStatus":
        return read_status(workspace, arguments.endpoint, archive, policy, window)

    if arguments.watch is None:
        status = read()
        print(_text(status, as_json=arguments.json))
        return _exit_code(status)
    if arguments.watch < 1:
        raise ParameterError(f"--watch must be at least 1 s to limit the load on Azure, got {arguments.watch:g}")
    return _watch(read, arguments.watch, as_json=arguments.json)


def _watch(read: "Callable[[], EndpointStatus]", every_s: float, *, as_json: bool) -> int:
    """Show the state again and again: in place in a terminal, one after the other elsewhere."""
    status = read()
    clears = sys.stdout.isatty() and not as_json
    try:
        while True:
            print(
                f"\033[H\033[2J{_text(status, as_json=as_json)}" if clears else _text(status, as_json=as_json),
                flush=True,
            )
            sleep(every_s)
            status = read()
    except KeyboardInterrupt:
        return _exit_code(status)


def _text(status: "EndpointStatus", *, as_json: bool) -> str:
    from opslib.show.status import status_json

    return status_json(status) if as_json else view(status).text


def _exit_code(status: "EndpointStatus") -> int:
    return CONCERN if status.concerns else UNREAD if status.unread else 0
