"""`opslib sandbox fault ...`: declare faults, list them, clear them."""

import argparse
from dataclasses import fields
from pathlib import Path
from typing import Any

from opslib.sandbox.cli.admin_client import call, run_word
from opslib.sandbox.core.home import Home
from opslib.sandbox.faults.model import EFFECTS, Fault


def register(parser: argparse.ArgumentParser) -> None:
    """Add the word's arguments."""
    parser.epilog = "kinds: " + "; ".join(f"{kind}: {effect}" for kind, effect in EFFECTS.items())
    parser.add_argument("what", help="a kind of fault, or: list, clear")
    parser.add_argument("--file", type=Path, help="declare the scenario in this YAML or JSON file (what: file)")
    for field in fields(Fault)[1:]:
        parser.add_argument("--" + field.name.replace("_", "-"), type=type(field.default), help="see fault.py")
    parser.set_defaults(run=run)


def run(arguments: argparse.Namespace) -> int:
    """Do what the word says."""
    return run_word(arguments, lambda home: call(home, *_request(arguments)), lambda _, row: print(describe(row)))


def listed(home: Home) -> list[dict[str, Any]]:
    """Return a running sandbox's faults that are not over."""
    return [row for row in call(home, "GET", "faults") if row["state"] != "ended"]


def describe(row: dict[str, Any]) -> str:
    """Say a fault in one line."""
    where = f"{row['operation']} on {row['endpoint']}/{row['deployment']}"
    return (
        f"{'fault':<12} {row['name']:<24} {row['state']:<8} {row['kind']} of {where}, rate {row['rate']:g}, "
        f"hits {row['hits']}, ends {row['ends']}"
    )


def _request(arguments: argparse.Namespace) -> tuple[str, str, dict[str, Any] | None]:
    if arguments.what == "list":
        return "GET", "faults", None
    if arguments.what == "clear":
        return "DELETE", f"faults/{arguments.name}" if arguments.name else "faults", None
    if arguments.what == "file":
        if arguments.file is None:
            raise ValueError("say which file: opslib sandbox fault file --file SCENARIO.yml")
        return "POST", "faults", _read(arguments.file)
    given = {field.name: getattr(arguments, field.name) for field in fields(Fault)[1:]}
    chosen = {name: value for name, value in given.items() if value is not None}
    return "POST", "faults", {"kind": arguments.what, **chosen}


def _read(path: Path) -> dict[str, Any]:
    import yaml  # noqa: PLC0415 - only here; JSON is YAML

    try:
        scenario = yaml.safe_load(path.read_text(encoding="utf-8"))
    except yaml.YAMLError as error:
        raise ValueError(f"{path} is no YAML: {error}") from error
    if not isinstance(scenario, dict):
        raise ValueError(f"{path} must hold a fault or a scenario, got {type(scenario).__name__}")  # noqa: TRY004 - the file is wrong, not the program
    return scenario
