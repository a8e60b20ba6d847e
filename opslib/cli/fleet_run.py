"""`opslib fleet run`: run a wave."""

import argparse
import os
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options, exit_code
from opslib.cli.output import print_aside, shown_if_read, write_output
from opslib.cli.request_options import add_request_options, request_of, request_words
from opslib.errors import PlanError, RecordError
from opslib.evidence.run.files import RECORD
from opslib.outcome import Outcome

if TYPE_CHECKING:
    from opslib.fleet.plan import WavePlan
    from opslib.fleet.rules import WaveState

EPILOG = """\
exit codes:
  0  every endpoint succeeded, or no more failed than may    4  held: window closed, or stopped by a person
  1  a rule stopped the wave after failures                  5  aborted: interrupted, or the engine was lost
  2  refused: nothing was started                            6  runs, or the wave, wait for approval

The first SIGTERM or Ctrl-C starts no further run and waits for those that go on; the second interrupts them, and
they undo their change. Runs on Dask workers are never interrupted.

example:
  opslib fleet run wave.yml --on local
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    parser.add_argument("file", type=Path, metavar="FILE", help="the wave file")
    parser.add_argument(
        "--restart", action="store_true", help="begin again, although an earlier wave is not complete"
    )
    parser.add_argument(
        "--folder",
        type=Path,
        default=Path(),
        metavar="FOLDER",
        help="azureml, airflow: where dags/ or azureml/ is written (default: this folder)",
    )
    add_options(parser, wave=False)
    add_engine_options(parser)


def add_engine_options(parser: argparse.ArgumentParser) -> None:
    """Add the engine, the last batch, and the change request."""
    from opslib.fleet.engine import ENGINES

    parser.add_argument("--on", default="local", metavar="ENGINE", help=f"{ENGINES} (default: local)")
    parser.add_argument(
        "--batch", type=int, default=0, metavar="N", help="end after this batch (default: after the last one)"
    )
    add_request_options(parser)


def run(arguments: argparse.Namespace) -> int:
    """Run the wave here or on workers, or write the files of an engine that runs it by itself."""
    from opslib.fleet.jobs import AIRFLOW, AZUREML, azureml_files
    from opslib.fleet.select import plan_wave

    plan, content = plan_wave(arguments.file, print_aside)
    if not arguments.restart:
        _require_complete(archive_of(arguments), plan)
    if arguments.on == AIRFLOW:
        return _write_dag(arguments, plan, content)
    if arguments.on.startswith(AZUREML):
        words = request_words(arguments, of_runs=False)
        _write(azureml_files(arguments.on, plan, arguments.file, words), arguments.folder)
        return 0
    return conduct(arguments, plan, content, None)


def conduct(arguments: argparse.Namespace, plan: "WavePlan", content: bytes, root: Path | None) -> int:
    """Run what is left of a wave; print its table and how it ended."""
    from opslib.evidence.signing.keys import find_signing_key
    from opslib.fleet.archive import wave_runs
    from opslib.fleet.attempt import Attempt
    from opslib.fleet.states import current_state
    from opslib.redaction.redact import redact
    from opslib.runbooks.progress import while_shown
    from opslib.runner.execute import check_approvals
    from opslib.show.fleet import progress, state_table

    show = print_aside if arguments.json else partial(print, flush=True)

    def watch(state: "WaveState", text: str) -> None:
        show(redact(f"  {datetime.now(UTC):%H:%M:%S}  {text}  [{progress(state)}]"))

    request, archive = check_approvals(request_of(arguments), find_signing_key()), archive_of(arguments)
    words = request_words(arguments)
    attempt = Attempt(archive, plan, content, arguments.on, request, words, arguments.batch)
    end = attempt.run(while_shown(watch), root, retry_failed=getattr(arguments, "retry_failed", False))
    with shown_if_read():
        if arguments.json:
            print((end.folder / RECORD).read_text(encoding="utf-8"), end="")
        else:
            print(redact(state_table(current_state(plan, wave_runs(end.root, plan))).text))
            print(f"{end.record.outcome}: {end.record.reason}\n{os.path.relpath(end.folder)}")
    return exit_code(end.record)


def _write_dag(arguments: argparse.Namespace, plan: "WavePlan", content: bytes) -> int:
    from opslib.evidence.signing.keys import find_signing_key
    from opslib.fleet.attempt import record_plan
    from opslib.fleet.jobs import AIRFLOW, airflow_files
    from opslib.runner.execute import check_approvals

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


def _require_complete(archive: Path, plan: "WavePlan") -> None:
    """Refuse a second wave of a name while endpoints of the first are left: they would be changed twice."""
    from opslib.fleet.archive import find_wave, open_plan, wave_runs
    from opslib.fleet.states import resumed_state

    try:
        root = find_wave(archive, plan.wave.name)
    except RecordError:
        return
    earlier = open_plan(root)
    left = resumed_state(earlier, wave_runs(root, earlier)).pending
    if left:
        raise PlanError(
            f"wave {plan.wave.name} is not complete: {len(left)} of {len(earlier.members)} endpoints are left. "
            f"Continue it: opslib fleet resume {plan.wave.name}; or begin again: --restart"
        )
