"""`opslib parameters`: list what a runbook takes."""

import argparse
import json

from opslib.runbook_names import RUNBOOK_NAMES, require_runbook

EPILOG = """\
A run takes a value from -p NAME=VALUE, else from the endpoint's policy, else the default.

example:
  opslib parameters canary
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "List every parameter of a runbook: name, default, meaning."
    parser.epilog = EPILOG
    parser.add_argument("--json", action="store_true", help="print the JSON Schema of the parameters")
    parser.add_argument("runbook", metavar="RUNBOOK", help=", ".join(RUNBOOK_NAMES))


def run(arguments: argparse.Namespace) -> int:
    """Print a line for each parameter."""
    require_runbook(arguments.runbook)
    from opslib.parameters import RUNBOOKS

    if arguments.json:
        print(json.dumps(RUNBOOKS[arguments.runbook].model_json_schema(), indent=2))
        return 0
    fields = RUNBOOKS[arguments.runbook].model_fields
    width = max(len(name) for name in fields)
    for name, field in fields.items():
        default = "required" if field.is_required() else repr(field.default)
        print(f"{name:<{width}}  {default:<18}  {field.description}")
    return 0
