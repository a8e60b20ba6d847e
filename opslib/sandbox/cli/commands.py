"""`opslib sandbox COMMAND`: the command line of the sandbox."""

import argparse
from typing import Any

from opslib.sandbox.cli import fault_command, principal_command, status_command, traffic_command, up_command

DESCRIPTION = """\
A local Azure ML: managed online endpoints on loopback. Programs that use the Azure SDKs run against it
unmodified, with environment variables alone.
"""
EXAMPLE = """\
opslib sandbox up
  eval "$(opslib sandbox env)"
  opslib sandbox status"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the sandbox's commands to `opslib sandbox`."""
    parser.description, parser.epilog = DESCRIPTION, f"example:\n  {EXAMPLE}"
    commands = parser.add_subparsers(dest="sandbox_command", required=True, metavar="COMMAND", title="commands")
    up_command.register(
        _command(
            commands,
            "up",
            "start the sandbox, unless it is up",
            "opslib sandbox up --quota-cores 8 --operation-s 2",
            "Start the sandbox, unless it is up. A setting that is not given keeps its value of the last start;\n"
            "on a first start, and after a reset, it has the default.",
        )
    )
    status_command.register_status(
        _command(commands, "status", "show whether it is up, and what it serves", "opslib sandbox status --json")
    )
    status_command.register_env(
        _command(
            commands,
            "env",
            "print the variables that point programs at it",
            'eval "$(opslib sandbox env)"',
        )
    )
    _command(commands, "down", "stop it and all instances; its state is kept", "opslib sandbox down").set_defaults(
        run=up_command.down
    )
    _command(commands, "reset", "stop it and delete its state", "opslib sandbox reset").set_defaults(
        run=up_command.reset
    )
    fault_command.register(
        _command(
            commands,
            "fault",
            "declare, list and clear faults",
            "opslib sandbox fault arm-throttle --endpoint fraud --rate 0.3 --seconds 60",
        )
    )
    principal_command.register(
        _command(
            commands,
            "principal",
            "add, list and remove identities with fewer rights",
            'eval "$(opslib sandbox principal add intern --role Reader)"',
        )
    )
    traffic_command.register(
        _command(
            commands,
            "traffic",
            "send open-loop load to an endpoint",
            "opslib sandbox traffic fraud --rps 40 --body-file bodies.jsonl --report load.jsonl",
            "Send open-loop load to an endpoint: requests arrive at random times (Poisson) and do not wait for\n"
            "earlier answers; a latency counts from the moment at which the request was due.",
        )
    )


def _command(
    commands: Any, name: str, summary: str, example: str, description: str = ""
) -> argparse.ArgumentParser:
    parser = _parser(commands, name, summary, example, description)
    parser.add_argument(
        "--home",
        metavar="FOLDER",
        help="folder of the sandbox (default: $OPSLIB_SANDBOX_HOME, else ~/.opslib/sandbox)",
    )
    return parser


def _parser(commands: Any, name: str, summary: str, example: str, description: str) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = commands.add_parser(
        name,
        help=summary,
        description=description or f"{summary[0].upper()}{summary[1:]}.",
        epilog=f"example:\n  {example}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    return parser
