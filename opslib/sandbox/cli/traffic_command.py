"""`opslib sandbox traffic`: send open-loop load to an endpoint."""

import argparse
import sys
from contextlib import nullcontext
from pathlib import Path

from opslib.sandbox.core.home import Home


def register(parser: argparse.ArgumentParser) -> None:
    """Add the options of `traffic`."""
    parser.add_argument("endpoint", help="name of the endpoint, in the sandbox's workspace")
    parser.add_argument("--rps", type=float, required=True, help="mean arrivals [1/s]")
    parser.add_argument("--seconds", type=float, default=60.0, help="how long requests arrive [s] (default: 60)")
    parser.add_argument(
        "--body-file", type=Path, required=True, help="file of JSON lines; each line is a request body"
    )
    parser.add_argument(
        "--report", type=Path, help="file for the result of each request, JSON lines (default: none)"
    )
    parser.add_argument(
        "--deadline-s",
        type=float,
        default=10.0,
        help="a request without an answer by then counts as failed [s] (default: 10)",
    )
    parser.add_argument(
        "--seed", type=int, default=0, help="seed of the arrivals and of the choice of bodies (default: 0)"
    )
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Send the load and print a summary; return 1 when it could not be sent."""
    note = Home.find(arguments.home).read_note()
    try:
        text = arguments.body_file.read_text(encoding="utf-8")
    except (OSError, ValueError) as error:
        print(f"The body file could not be read: {error}", file=sys.stderr)
        return 1
    bodies = tuple(line.encode() for line in text.splitlines() if line.strip())
    if note is None or not bodies or arguments.rps <= 0:
        print(
            "No load was sent. It needs a running sandbox, a body file with at least one line, and --rps above 0.",
            file=sys.stderr,
        )
        return 1
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
