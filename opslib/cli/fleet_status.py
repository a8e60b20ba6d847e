"""`opslib fleet status`: show how far a wave is."""

import argparse
import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options
from opslib.cli.output import print_aside

if TYPE_CHECKING:
    from opslib.fleet.archive import MemberRun
    from opslib.fleet.plan import WavePlan

    Runs = Mapping[int, Sequence[MemberRun]]

EPILOG = """\
example:
  opslib fleet status december --watch 5 --plot wave.png
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument(
        "--plot", type=Path, metavar="FILE.png", help="also draw the runs over time (default: none)"
    )
    parser.add_argument(
        "--watch",
        type=float,
        default=0.0,
        metavar="SECONDS",
        help="show it again at this interval, until interrupted (default: once)",
    )


def run(arguments: argparse.Namespace) -> int:
    """Print the state of each endpoint, and the wave's records."""
    from opslib.fleet.archive import find_wave, open_plan, wave_runs
    from opslib.redaction.redact import redact

    root = find_wave(archive_of(arguments), arguments.wave)
    plan = open_plan(root)
    while True:
        runs = wave_runs(root, plan)
        print(_as_json(root, plan, runs) if arguments.json else redact(_as_text(root, plan, runs)), flush=True)
        if arguments.plot:
            from opslib.show.fleet_plot import plot_wave

            picture = plot_wave(plan, runs, datetime.now(UTC))
            arguments.plot.write_bytes(picture.png)
            print_aside(f"{arguments.plot}: {picture.caption}")
        if not arguments.watch:
            return 0
        sleep(arguments.watch)


def _as_text(root: Path, plan: "WavePlan", runs: "Runs") -> str:
    from opslib.fleet.archive import wave_records
    from opslib.fleet.states import current_state
    from opslib.show.fleet import state_table

    records = (
        f"{record.run_id}  {record.outcome or 'running'}  {record.reason}".rstrip()
        for _, record in wave_records(root)
    )
    return "\n".join([state_table(current_state(plan, runs)).text, *records])


def _as_json(root: Path, plan: "WavePlan", runs: "Runs") -> str:
    from opslib.fleet.archive import wave_records
    from opslib.fleet.states import current_state

    state = current_state(plan, runs)
    members = [
        {"number": one.number, "batch": one.batch, "endpoint": one.endpoint, **asdict(state.of(one))}
        for one in plan.members
    ]
    records = [
        {"run": record.run_id, "outcome": record.outcome, "reason": record.reason}
        for _, record in wave_records(root)
    ]
    return json.dumps({"wave": root.name, "name": plan.wave.name, "records": records, "members": members}, indent=2)
