"""`opslib diagnose`: why an endpoint fails, without a run's evidence."""

import argparse
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.displayed import view
from opslib.errors import ParameterError
from opslib.target import TARGET

if TYPE_CHECKING:
    from opslib.diagnosis.cause import Diagnosis

CAUSE = 3
UNREAD = 4
SHORTEST_MIN, LONGEST_MIN = 5.0, 10080.0

EPILOG = """\
exit codes:
  0  no fault was found
  1  the endpoint could not be read        3  a likely cause was found
  2  refused: there is no such endpoint    4  none was found, and a part could not be read; it is named

A reader's role is enough for most; the containers' logs need onlineEndpoints/deployments/getLogs/action. What could
not be read is listed with the reason. `opslib run diagnose` leaves evidence.

--error reads nothing but the text: what az printed, an SDK's traceback, ARM's JSON, or a container's log.

examples:
  opslib diagnose fraud
  az ml online-deployment create ... 2>&1 | opslib diagnose --error -
  opslib diagnose fraud --deployment green --probes fraud/probes.jsonl
  opslib diagnose fraud --json | jq -r '.causes[0].command'
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Find why an endpoint fails: states, changes, events, logs, requests by status, quota, roles, network and\n"
        "certificate are read; likely causes are listed with their evidence and the next command. It only reads."
    )
    parser.epilog = EPILOG
    parser.add_argument("endpoint", metavar="ENDPOINT", nargs="?", default="", help="the endpoint's name")
    parser.add_argument(
        "--error",
        default="",
        metavar="FILE",
        help="instead of an endpoint, an error's text; - is the standard input",
    )
    parser.add_argument("--deployment", default="", metavar="NAME", help="only this deployment (default: all)")
    parser.add_argument("--target", default="sandbox", help=f"{TARGET} (default: sandbox)")
    parser.add_argument(
        "--window-min",
        type=float,
        default=60.0,
        metavar="MINUTES",
        help="how far back requests and changes are read (default: 60)",
    )
    parser.add_argument(
        "--probes", default="", metavar="FILE", help=".jsonl of probes, each sent once (default: none is sent)"
    )
    parser.add_argument("--json", action="store_true", help="print JSON")


def run(arguments: argparse.Namespace) -> int:
    """Diagnose the endpoint and print the causes."""
    from opslib.azure.connect import connect
    from opslib.azure.endpoints import read_endpoint
    from opslib.diagnosis.pasted import diagnose_text
    from opslib.runbooks.diagnose import diagnose_facts, read_symptoms

    if bool(arguments.endpoint) == bool(arguments.error):
        raise ParameterError("diagnose takes either ENDPOINT, or --error with the text of an error")
    if arguments.error:
        return _show(diagnose_text(_read_text(arguments.error), datetime.now(UTC)), as_json=arguments.json)
    if not SHORTEST_MIN <= arguments.window_min <= LONGEST_MIN:
        raise ParameterError(f"--window-min must be from 5 to 10080 (7 days), got {arguments.window_min:g}")
    workspace = connect(arguments.target)
    endpoint = read_endpoint(workspace, arguments.endpoint)
    facts = read_symptoms(workspace, endpoint, arguments.window_min, arguments.probes, arguments.deployment)
    found = diagnose_facts(facts, arguments.deployment)
    return _show(found, as_json=arguments.json)


def _show(found: "Diagnosis", *, as_json: bool) -> int:
    """Print a diagnosis; return the exit code."""
    from opslib.redaction.redact import redact
    from opslib.show.diagnosis import diagnosis_json

    print(redact(diagnosis_json(found) if as_json else view(found).text))
    return CAUSE if found.causes else UNREAD if found.unread else 0


def _read_text(name: str) -> str:
    """Read an error's text from a file or the standard input.

    Raises
    ------
    ParameterError
        If it cannot be read, or is empty.
    """
    try:
        text = sys.stdin.read() if name == "-" else Path(name).read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise ParameterError(f"--error: {name} cannot be read: {error}") from error
    if not text.strip():
        raise ParameterError(f"--error: {name} is empty; expected the text of an error")
    return text
