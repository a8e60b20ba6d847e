"""`opslib fleet`: run a runbook on many endpoints in batches, as a wave file describes."""

import argparse
from collections.abc import Mapping

COMMANDS: Mapping[str, str] = {
    "plan": "list the endpoints in order, with their batches; starts nothing",
    "run": "run a wave",
    "resume": "run what is left of a wave, by the same plan",
    "status": "show how far a wave is",
    "stop": "start no further run of a wave; those that go on end",
    "member": "run one endpoint of a wave once; engines start this",
    "gate": "exit with 0 if the next group of a wave may start; engines start this",
    "end": "seal the record of what an engine did by itself; engines start this",
}

EPILOG = """\
example:
  opslib fleet plan wave.yml && opslib fleet run wave.yml --on local
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the commands; the options of each are added when it is given."""
    parser.description = (
        "Run a runbook on many endpoints: a wave file (wave.yml) selects them by a query of the inventory, and\n"
        "limits how many run at once, per region and owner, and what stops the wave. Each run is an ordinary,\n"
        "sealed run; one record, sealed as a run, names them all."
    )
    parser.epilog = EPILOG
    commands = parser.add_subparsers(required=True, metavar="COMMAND", title="commands")
    for name, text in COMMANDS.items():
        own = commands.add_parser(name, module=f"opslib.cli.fleet_{name}", help=text)
        own.description = f"{text[0].upper()}{text[1:]}."
