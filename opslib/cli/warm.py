"""`opslib warm`: keep a prepared process, of which runs are forks."""

import argparse
import json
from dataclasses import asdict

from opslib.model.text import counted
from opslib.warm.place import find_socket, log_of
from opslib.warm.starting import Prepared, find_prepared, start, stop

EPILOG = """\
The prepared process has imported what runs need, and nothing else: no credential, no secret, nothing of a workspace
or an archive. `opslib run` and `opslib fleet member` of the same user find it by themselves. The run is a fork with
the environment, folder, terminal and signals of the command, and leaves the same evidence. Where anything is not as
it was prepared (sources, installed packages, Python, user, limits, namespaces, variables that take effect at a
start), the command runs as without it. It ends after 30 minutes without a run.

exit codes:
  0  there is one that would be used; down: there is none any more      1  there is none, or it would refuse

example:
  opslib warm up && opslib run rollback -p endpoint=fraud
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Keep a prepared process, so that a run starts within a tenth of a second."
    parser.epilog = EPILOG
    parser.add_argument("action", choices=["up", "down", "status"], help="start it, end it, or show it")
    parser.add_argument("--json", action="store_true", help="up, status: print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Start, end or show the prepared process."""
    if arguments.action == "down":
        print("ended; runs go on" if stop() else "there is no prepared process")
        return 0
    found = start() if arguments.action == "up" else find_prepared()
    if arguments.json:
        print(json.dumps(None if found is None else asdict(found) | {"log": str(log_of(find_socket()))}))
    else:
        print("there is no prepared process: opslib warm up" if found is None else _describe(found))
    return 0 if found is not None and not found.refusal else 1


def _describe(found: Prepared) -> str:
    used = f"runs do not use it: {found.refusal}" if found.refusal else "runs start from it"
    size = f"{counted(found.runs, 'run')} now, {found.memory_mib:.0f} MiB"
    return f"process {found.pid} is prepared: {used}. {size}. Log: {log_of(find_socket())}"
