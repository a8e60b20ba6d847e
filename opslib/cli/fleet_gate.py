"""`opslib fleet gate`: whether the next group of a wave may start, by the runs in the archive."""

import argparse
import json
import sys
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from time import sleep

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options
from opslib.outcome import Outcome

EPILOG = """\
It first waits for the pause between two batches. The exit codes are those of `opslib fleet run`.

example:
  opslib fleet gate 20261201T080012Z-wave-december-1a2b3c --batch 2 --group 1
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument("--batch", type=int, required=True, metavar="N", help="the batch that is to start")
    parser.add_argument("--group", type=int, required=True, metavar="N", help="the group of it that is to start")


def run(arguments: argparse.Namespace) -> int:
    """Decide by the rules of the wave; print what stops it."""
    from opslib.fleet.archive import find_wave, open_plan, wave_runs
    from opslib.fleet.drive import find_requested_stop
    from opslib.fleet.rules import Stop, find_stop
    from opslib.fleet.states import current_state

    root = find_wave(archive_of(arguments), arguments.wave)
    plan = open_plan(root)
    state = current_state(plan, wave_runs(root, plan))
    if arguments.batch > 1 and arguments.group == 1 and state.ended_at is not None:
        until = state.ended_at + timedelta(seconds=plan.wave.pause_s)
        sleep(max((until - datetime.now(UTC)).total_seconds(), 0.0))
    stop = find_requested_stop(root) or find_stop(state, datetime.now(UTC))
    earlier = plan.members_before(arguments.batch, arguments.group)
    left = [one.endpoint for one in earlier if not state.of(one).settled]
    if stop is None and left:
        stop = Stop("order", f"{', '.join(left[:5])} of the groups before have no run", Outcome.HELD)
    if arguments.json:
        print(json.dumps({"open": stop is None, "stop": asdict(stop) if stop else None}))
    if stop is None:
        return 0
    print(f"stopped by {stop.rule}: {stop.reason}", file=sys.stderr)
    return stop.outcome.exit_code
