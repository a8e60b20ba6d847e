"""`opslib role`: the smallest custom role for the runbooks, as a file for `az role definition create`."""

import argparse
import json
from pathlib import Path

from opslib.cli.output import print_aside, write_output
from opslib.errors import ConnectError, ParameterError

EPILOG = """\
The role is assignable in the workspace's resource group, taken from config.json. Instance types, quota and the
activity log are read in the subscription; without them there the runs go on and list what they could not check.
The pipeline's identity, a person on call and an auditor can each have a role of their own.

example:
  opslib role deploy validate canary rollback --output releaser.json
  az role definition create --role-definition releaser.json
  opslib role --read-only --name "opslib reader" --output reader.json
"""

PLACEHOLDER = "/subscriptions/SUBSCRIPTION/resourceGroups/GROUP"


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Print the smallest custom role with which some runbooks, or all, can run."
    parser.epilog = EPILOG
    parser.add_argument("runbooks", nargs="*", metavar="RUNBOOK", help="for these runbooks (default: all)")
    parser.add_argument("--read-only", action="store_true", help="only what dry runs and reading commands read")
    parser.add_argument("--name", default="opslib operator", metavar="NAME", help="its name (default: %(default)s)")
    parser.add_argument(
        "--scope",
        action="append",
        default=[],
        metavar="ID",
        help="ARM id where it can be assigned; repeat it for more (default: the resource group of config.json)",
    )
    parser.add_argument("--output", type=Path, metavar="FILE", help="write it to a file (default: print it)")


def run(arguments: argparse.Namespace) -> int:
    """Print or write the role."""
    from opslib.access.roles import RUNBOOK_PURPOSES, custom_role

    unknown = sorted(set(arguments.runbooks) - RUNBOOK_PURPOSES.keys())
    if unknown:
        raise ParameterError(f"no runbook is called {', '.join(unknown)}; there are: {', '.join(RUNBOOK_PURPOSES)}")
    scopes = arguments.scope or [_group()]
    role = custom_role(
        arguments.name, arguments.runbooks or list(RUNBOOK_PURPOSES), scopes, read_only=arguments.read_only
    )
    text = json.dumps(role, indent=2)
    if arguments.output:
        write_output(arguments.output, text + "\n")
        print_aside(f"next: az role definition create --role-definition {arguments.output}")
    else:
        print(text)
    return 0


def _group() -> str:
    from opslib.azure.connect import find_config

    try:
        config = find_config("azure")
    except ConnectError:
        print_aside(f"no config.json was found: replace SUBSCRIPTION and GROUP in {PLACEHOLDER}, or pass --scope")
        return PLACEHOLDER
    return f"/subscriptions/{config['subscription_id']}/resourceGroups/{config['resource_group']}"
