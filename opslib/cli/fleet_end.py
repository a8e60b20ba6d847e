"""`opslib fleet end`: seal the record of what an engine did by itself."""

import argparse

from opslib.cli.archive_option import archive_of
from opslib.cli.fleet_options import add_options, exit_code
from opslib.evidence.run.files import RECORD

EPILOG = """\
The exit codes are those of `opslib fleet run`.

example:
  opslib fleet end 20261201T080012Z-wave-december-1a2b3c --on airflow
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.epilog = EPILOG
    add_options(parser)
    parser.add_argument("--on", default="airflow", metavar="ENGINE", help="name of the engine (default: airflow)")


def run(arguments: argparse.Namespace) -> int:
    """Seal the record; print how the wave ended, or the record."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.fleet.archive import find_wave, open_plan
    from opslib.fleet.attempt import record_end
    from opslib.fleet.plan import WAVE_FILE

    archive = archive_of(arguments)
    root = find_wave(archive, arguments.wave)
    record = record_end(archive, open_plan(root), (root / WAVE_FILE).read_bytes(), arguments.on, root)
    if arguments.json:
        print((find_run(archive, record.run_id) / RECORD).read_text(encoding="utf-8"), end="")
    else:
        print(f"{record.outcome}: {record.reason}")
    return exit_code(record)
