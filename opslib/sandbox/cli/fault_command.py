"""`opslib sandbox fault ...`: declare faults, list them, clear them."""

import argparse
from pathlib import Path
from typing import Any
from urllib.parse import quote

from opslib.sandbox.cli.admin_client import call, run_command
from opslib.sandbox.cli.options import add_field_options, chosen
from opslib.sandbox.core.home import Home
from opslib.sandbox.faults.model import EFFECTS, Fault


def register(parser: argparse.ArgumentParser) -> None:
    """Add the options of `fault`: what to do, and each field of a fault."""
    kinds = "\n".join(f"  {kind:<16} {effect}" for kind, effect in EFFECTS.items())
    parser.epilog = f"kinds of fault:\n{kinds}\n\n{parser.epilog}"
    parser.add_argument("what", metavar="WHAT", help="a kind of fault to declare, or one of: list, clear, file")
    parser.add_argument("--file", type=Path, help="with WHAT file: declare the scenario of this YAML or JSON file")
    add_field_options(parser, Fault)
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Declare, list or clear faults of a running sandbox."""
    return run_command(
        arguments, lambda home: call(home, *_request(arguments)), lambda _, row: print(describe(row))
    )


def listed(home: Home) -> list[dict[str, Any]]:
    """Return a running sandbox's faults that are not over."""
    return [row for row in call(home, "GET", "faults") if row["state"] != "ended"]


def describe(row: dict[str, Any]) -> str:
    """Return a fault in one line."""
    where = f"{row['operation']} on {row['endpoint']}/{row['deployment']}"
    return (
        f"{'fault':<12} {row['name']:<24} {row['state']:<8} {row['kind']} of {where}, rate {row['rate']:g}, "
        f"hits {row['hits']}, ends {row['ends']}"
    )


def _request(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    if arguments.what == "list":
        return "GET", "faults", None
    if arguments.what == "clear":
        return "DELETE", f"faults/{quote(arguments.name, safe='')}" if arguments.name else "faults", None
    if arguments.what == "file":
        if arguments.file is None:
            raise ValueError("--file is missing. Expected: opslib sandbox fault file --file SCENARIO.yml")
        return "POST", "faults", _read(arguments.file)
    return "POST", "faults", {"kind": arguments.what, **chosen(arguments, Fault)}


def _read(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only here; JSON is YAML

    try:
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is not valid YAML: {error}") from error
    if not isinstance(scenario, dict):
        raise ValueError(f"{path} must hold a fault or a scenario, got {type(scenario).__name__}")  # noqa: TRY004 - the file is wrong, not the program
    return scenario
