"""`opslib fleet`: run a runbook on many endpoints in batches, as a wave file describes."""

import argparse
import json
import os
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from time import sleep
from typing import Any

from opslib.cli import fleet_tasks
from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.fleet_tasks import exit_code
from opslib.cli.output import print_aside, write_output
from opslib.cli.request_options import add_request_options, request_of, request_words
from opslib.errors import PlanError, RecordError
from opslib.evidence.run.files import RECORD
from opslib.evidence.run.provenance import find_executor
from opslib.evidence.signing.keys import find_signing_key
from opslib.fleet.archive import (
    MemberRun,
    find_wave,
    open_plan,
    request_stop,
    stop_request,
    wave_records,
    wave_runs,
)
from opslib.fleet.attempt import Attempt, record_plan
from opslib.fleet.engine import ENGINES
from opslib.fleet.jobs import AIRFLOW, AZUREML, airflow_files, azureml_files
from opslib.fleet.plan import WAVE_FILE, WavePlan
from opslib.fleet.rules import WaveState
from opslib.fleet.select import plan_wave
from opslib.fleet.states import current_state, resumed_state
from opslib.model.outcome import Outcome
from opslib.redaction.redact import redact
from opslib.runner.execute import check_approvals
from opslib.show.fleet import plot_wave, summary

Runs = Mapping[int, Sequence[MemberRun]]

EPILOG = """\
exit codes of run and resume:
  0  every endpoint succeeded, or no more failed than may    4  held: window closed, or stopped by a person
  1  a rule stopped the wave after failures                  5  aborted: interrupted, or the engine was lost
  2  refused: nothing was started                            6  runs, or the wave, wait for approval

The first SIGTERM or Ctrl-C starts no further run and waits for those that go on; the second interrupts them, and
they undo their change. Runs on Dask workers are never interrupted.

example:
  opslib fleet plan wave.yml && opslib fleet run wave.yml --on local
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the commands and their options."""
    parser.description = (
        "Run a runbook on many endpoints: a wave file (wave.yml) selects them by a query of the inventory, and\n"
        "limits how many run at once, per region and owner, and what stops the wave. Each run is an ordinary,\n"
        "sealed run; one record, sealed as a run, names them all."
    )
    parser.epilog = EPILOG
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    plan = _add(commands, "plan", _plan, "list the endpoints in order, with their batches; starts nothing")
    plan.add_argument("file", type=Path, metavar="FILE", help="the wave file")
    run = _add(commands, "run", _run, "run a wave")
    run.add_argument("file", type=Path, metavar="FILE", help="the wave file")
    run.add_argument("--restart", action="store_true", help="begin again, although an earlier wave is not complete")
    run.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="azureml, airflow: where dags/ or azureml/ is written (default: this folder)",
    )
    resume = _add(commands, "resume", _resume, "run what is left of a wave, by the same plan")
    _add_wave(resume)
    resume.add_argument("--retry-failed", action="store_true", help="repeat also the runs that did not succeed")
    for command in (run, resume):
        command.add_argument("--on", default="local", metavar="ENGINE", help=f"{ENGINES} (default: local)")
        command.add_argument(
            "--batch", type=int, default=0, metavar="N", help="end after this batch (default: after the last one)"
        )
        add_request_options(command)
    status = _add(commands, "status", _status, "show how far a wave is")
    _add_wave(status)
    status.add_argument("--plot", type=Path, metavar="FILE.png", help="also draw the runs over time")
    status.add_argument(
        "--watch", type=float, default=0.0, metavar="SECONDS", help="show it again at this interval"
    )
    stop = _add(commands, "stop", _stop, "start no further run of a wave; those that go on end")
    _add_wave(stop)
    stop.add_argument("--reason", default="", help="why, for the record")
    stop.add_argument("--who", default="", metavar="NAME", help="who stops it (default: the user of this machine)")
    fleet_tasks.describe(commands, _add)


def _add(commands: Any, name: str, run: Callable[[argparse.Namespace], int], text: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name, help=text, description=f"{text[0].upper()}{text[1:]}."
    )
    parser.set_defaults(run=run)
    parser.add_argument("--json", action="store_true", help="print JSON; what people read goes to stderr")
    add_archive_option(parser)
    return parser


def _add_wave(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("wave", metavar="WAVE", help="the wave's name, or the id of one of its records")


def _plan(arguments: argparse.Namespace) -> int:
    plan, _ = plan_wave(arguments.file, print_aside)
    print(redact(plan.content().rstrip() if arguments.json else str(plan)))
    return 0


def _run(arguments: argparse.Namespace) -> int:
    plan, content = plan_wave(arguments.file, print_aside)
    if not arguments.restart:
        _require_complete(archive_of(arguments), plan)
    if arguments.on == AIRFLOW:
        return _write_dag(arguments, plan, content)
    if arguments.on.startswith(AZUREML):
        _write(azureml_files(arguments.on, plan, arguments.file, request_words(arguments)), arguments.folder)
        return 0
    return _conduct(arguments, plan, content, None)


def _write_dag(arguments: argparse.Namespace, plan: WavePlan, content: bytes) -> int:
    archive = archive_of(arguments)
    request = check_approvals(request_of(arguments), find_signing_key())
    root, record = record_plan(archive, plan, content, AIRFLOW, request)
    if record.outcome is Outcome.PLANNED:
        _write(airflow_files(plan, root, archive, request_words(arguments)), arguments.folder)
    print_aside(f"{record.outcome}: {record.reason}")
    return exit_code(record)


def _write(files: Mapping[str, str], folder: Path) -> None:
    for name, text in files.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        write_output(path, text)
        print(path)


def _resume(arguments: argparse.Namespace) -> int:
    root = find_wave(archive_of(arguments), arguments.wave)
    return _conduct(arguments, open_plan(root), (root / WAVE_FILE).read_bytes(), root)


def _conduct(arguments: argparse.Namespace, plan: WavePlan, content: bytes, root: Path | None) -> int:
    show = print_aside if arguments.json else partial(print, flush=True)

    def watch(state: WaveState, text: str) -> None:
        show(redact(f"  {datetime.now(UTC):%H:%M:%S}  {text}  [{summary(state)}]"))

    request, archive = check_approvals(request_of(arguments), find_signing_key()), archive_of(arguments)
    words = request_words(arguments)
    attempt = Attempt(archive, plan, content, arguments.on, request, words, arguments.batch)
    end = attempt.run(watch, root, retry_failed=getattr(arguments, "retry_failed", False))
    if arguments.json:
        print((end.folder / RECORD).read_text(encoding="utf-8"), end="")
    else:
        print(redact(f"{current_state(plan, wave_runs(end.root, plan))}"))
        print(f"{end.record.outcome}: {end.record.reason}\n{os.path.relpath(end.folder)}")
    return exit_code(end.record)


def _require_complete(archive: Path, plan: WavePlan) -> None:
    """Refuse a second wave of a name while endpoints of the first are left: they would be changed twice."""
    try:
        root = find_wave(archive, plan.wave.name)
    except RecordError:
        return
    earlier = open_plan(root)
    left = resumed_state(earlier, wave_runs(root, earlier)).select("pending")
    if left:
        raise PlanError(
            f"wave {plan.wave.name} is not complete: {len(left)} of {len(earlier.members)} endpoints are left. "
            f"Continue it: opslib fleet resume {plan.wave.name}; or begin again: --restart"
        )


def _status(arguments: argparse.Namespace) -> int:
    root = find_wave(archive_of(arguments), arguments.wave)
    plan = open_plan(root)
    while True:
        runs = wave_runs(root, plan)
        print(_as_json(root, plan, runs) if arguments.json else redact(_as_text(root, plan, runs)), flush=True)
        if arguments.plot:
            picture = plot_wave(plan, runs, datetime.now(UTC))
            arguments.plot.write_bytes(picture.png)
            print_aside(f"{arguments.plot}: {picture.caption}")
        if not arguments.watch:
            return 0
        sleep(arguments.watch)


def _as_text(root: Path, plan: WavePlan, runs: Runs) -> str:
    records = (
        f"{record.run_id}  {record.outcome or 'running'}  {record.reason}".rstrip()
        for _, record in wave_records(root)
    )
    return "\n".join([str(current_state(plan, runs)), *records])


def _as_json(root: Path, plan: WavePlan, runs: Runs) -> str:
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


def _stop(arguments: argparse.Namespace) -> int:
    root = find_wave(archive_of(arguments), arguments.wave)
    request = stop_request(arguments.who or find_executor()["user"], arguments.reason)
    request_stop(root, request)
    if arguments.json:
        print(json.dumps({"wave": root.name, **asdict(request)}))
    else:
        print(f"{root.name}: no further run starts. Continue it: opslib fleet resume {root.name}")
    return 0
