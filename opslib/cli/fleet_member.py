"""`opslib fleet member`: run one endpoint of a wave once."""

import argparse
import json

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options, exit_code
from opslib.cli.request_options import add_request_options, request_of
from opslib.errors import ParameterError

EPILOG = """\
The exit codes are those of `opslib run`.

example:
  opslib fleet member 20261201T080012Z-wave-december-1a2b3c 17
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument("number", type=int, metavar="NUMBER", help="the endpoint's number in the plan")
    parser.add_argument(
        "--run",
        dest="attempt",
        type=int,
        default=0,
        metavar="N",
        help="which of its runs; one that is there is not repeated (default: the next, if something is left)",
    )
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Execute the run, or find it; print how it ended."""
    from opslib.fleet.archive import find_wave, open_plan
    from opslib.runner.own_process import prepare_own_process
    from opslib.runner.wave_member import run_member
    from opslib.show.terminal import show_progress

    root = find_wave(archive_of(arguments), arguments.wave)
    plan = open_plan(root)
    if not 0 < arguments.number <= len(plan.members):
        raise ParameterError(
            f"wave {plan.wave.name} has {len(plan.members)} endpoints, got number {arguments.number}"
        )
    member = plan.members[arguments.number - 1]
    if arguments.own_process:
        prepare_own_process()
    with show_progress(aside=True) as on_event:
        found = run_member(root, plan, member, request_of(arguments), arguments.attempt, on_event)
    record = found.record
    ended = {"run": record.run_id, "folder": found.folder, "outcome": record.outcome, "reason": record.reason}
    print(json.dumps(ended) if arguments.json else f"{record.outcome}: {record.reason}\n{found.folder}")
    return exit_code(record)
