"""The commands of `opslib fleet` that engines run: one endpoint, the gate after a group, the last record."""

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from time import sleep
from typing import Any

from opslib.cli.archive_option import archive_of
from opslib.cli.request_options import add_request_options, request_of
from opslib.errors import ParameterError
from opslib.evidence.run.record import Record
from opslib.fleet.archive import find_wave, open_plan, wave_runs
from opslib.fleet.attempt import record_end
from opslib.fleet.drive import find_requested_stop
from opslib.fleet.plan import WAVE_FILE
from opslib.fleet.rules import Stop, find_stop
from opslib.fleet.states import current_state
from opslib.model.outcome import Outcome
from opslib.runner.wave_member import run_member
from opslib.show.terminal import show_progress


def describe(commands: Any, add: Callable[..., argparse.ArgumentParser]) -> None:
    """Add the commands and their options."""
    member = add(commands, "member", _member, "run one endpoint of a wave once; engines start this")
    member.add_argument("wave", metavar="WAVE", help="id of the wave's first record")
    member.add_argument("number", type=int, metavar="NUMBER", help="the endpoint's number in the plan")
    member.add_argument(
        "--run",
        dest="attempt",
        type=int,
        default=0,
        metavar="N",
        help="which of its runs; one that is there is not repeated (default: the next, if something is left)",
    )
    add_request_options(member)
    gate = add(commands, "gate", _gate, "exit with 0 if the next runs may start, else with the wave's exit code")
    gate.add_argument("wave", metavar="WAVE", help="id of the wave's first record")
    gate.add_argument("--batch", type=int, required=True, metavar="N", help="the batch that is to start")
    gate.add_argument("--group", type=int, required=True, metavar="N", help="the group of it that is to start")
    end = add(commands, "end", _end, "seal the record of what an engine did by itself")
    end.add_argument("wave", metavar="WAVE", help="id of the wave's first record")
    end.add_argument("--on", default="airflow", metavar="ENGINE", help="name of the engine (default: airflow)")


def exit_code(record: Record) -> int:
    """Return the exit code of a record."""
    return Outcome.FAILED.exit_code if record.outcome is None else record.outcome.exit_code


def _member(arguments: argparse.Namespace) -> int:
    root = find_wave(archive_of(arguments), arguments.wave)
    plan = open_plan(root)
    if not 0 < arguments.number <= len(plan.members):
        raise ParameterError(
            f"wave {plan.wave.name} has {len(plan.members)} endpoints, got number {arguments.number}"
        )
    member = plan.members[arguments.number - 1]
    with show_progress(aside=True) as on_event:
        run = run_member(root, plan, member, request_of(arguments), arguments.attempt, on_event)
    record = run.record
    ended = {"run": record.run_id, "folder": run.folder, "outcome": record.outcome, "reason": record.reason}
    print(json.dumps(ended) if arguments.json else f"{record.outcome}: {record.reason}\n{run.folder}")
    return exit_code(record)


def _gate(arguments: argparse.Namespace) -> int:
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
    if stop is None:
        return 0
    print(f"stopped by {stop.rule}: {stop.reason}", file=sys.stderr)
    return stop.outcome.exit_code


def _end(arguments: argparse.Namespace) -> int:
    root = find_wave(archive_of(arguments), arguments.wave)
    record = record_end(archive_of(arguments), open_plan(root), (root / WAVE_FILE).read_bytes(), arguments.on, root)
    print(f"{record.outcome}: {record.reason}")
    return exit_code(record)
