"""`opslib sandbox traffic`: send open-loop load to an endpoint."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from opslib.sandbox.core.home import Home


def register(parser: argparse.ArgumentParser) -> None:
    """Add the options of `traffic`."""
    parser.add_argument("endpoint", metavar="ENDPOINT", help="name of the endpoint, in the sandbox's workspace")
    parser.add_argument(
        "--rps", type=float, required=True, metavar="RATE", help="mean arrivals, above 0 [1/s] (required)"
    )
    parser.add_argument("--seconds", type=float, default=60.0, help="how long requests arrive [s] (default: 60)")
    parser.add_argument(
        "--body-file",
        type=Path,
        required=True,
        metavar="FILE",
        help="file of JSON lines; each line is a request body (required)",
    )
    parser.add_argument(
        "--report",
        type=Path,
        metavar="FILE",
        help="file for the result of each request, JSON lines (default: none)",
    )
    parser.add_argument(
        "--deadline-s",
        type=float,
        default=10.0,
        metavar="SECONDS",
        help="a request without an answer by then counts as failed [s] (default: 10)",
    )
    parser.add_argument(
        "--seed",
        type=int,
        default=0,
        metavar="N",
        help="seed of the arrivals and of the choice of bodies (default: 0)",
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the load and print a summary; return 1 when it could not be sent."""
    note = Home.find(arguments.home).read_note()
    try:
        text = arguments.body_file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        why = error.strerror if isinstance(error, OSError) else error
        return _refuse(f"the body file {arguments.body_file} cannot be read: {why}")
    bodies = tuple(line.encode() for line in text.splitlines() if line.strip())
    if not bodies:
        return _refuse(f"the body file {arguments.body_file} is empty, expected a request body in each line")
    if arguments.rps <= 0:
        return _refuse(f"--rps is {arguments.rps:g}, expected above 0")
    if note is None:
        return _refuse("the sandbox is not up: opslib sandbox up")
    from opslib.sandbox.cli.load import Load, send  # noqa: PLC0415 - its HTTP client takes 0.2 s to import

    load = Load(arguments.rps, arguments.seconds, arguments.deadline_s, arguments.seed, bodies)
    with arguments.report.open("w", encoding="utf-8", buffering=1) if arguments.report else nullcontext() as report:
        try:
            results = send(note, arguments.endpoint, load, report)
        except LookupError as error:
            print(error.args[0], file=sys.stderr)
            return 1
    print(results.summary())
    return 0


def _refuse(why: str) -> int:
    print(f"No load was sent: {why}.", file=sys.stderr)
    return 1
