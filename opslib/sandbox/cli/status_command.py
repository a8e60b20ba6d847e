"""`opslib sandbox status` and `env`: what a running sandbox serves, and how programs reach it."""

import argparse
import json
import shlex
import sys
from dataclasses import asdict
from typing import Any

from opslib.sandbox.cli.control import last_settings
from opslib.sandbox.cli.fault_command import describe, listed
from opslib.sandbox.cli.inventory import inventory
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.settings import Settings


def register_env(parser: argparse.ArgumentParser) -> None:
    """Add the options of `env`."""
    parser.add_argument(
        "--azure-names",
        action="store_true",
        help="for programs with hard-coded Azure host names: a CONNECT proxy and a CA bundle for those names",
    )
    parser.add_argument("--json", action="store_true", help="print the whole note as JSON instead of export lines")
    parser.set_defaults(run=env)


def env(arguments: argparse.Namespace) -> int:
    """Print the variables of a running sandbox; return 1 where none is up."""
    note = _note(arguments)
    if note is None:
        return 1
    if arguments.json:
        print(json.dumps(note, indent=2))
        return 0
    variables = note["azure_environment" if arguments.azure_names else "environment"]
    for name, value in variables.items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def register_status(parser: argparse.ArgumentParser) -> None:
    """Add the options of `status`."""
    parser.add_argument("--json", action="store_true", help="print JSON, with all settings")
    parser.set_defaults(run=status)


def status(arguments: argparse.Namespace) -> int:
    """Print what a running sandbox serves; return 1 where none is up."""
    note = _note(arguments)
    if note is None:
        return 1
    home = Home.find(arguments.home)
    if arguments.json:
        print(json.dumps(_content(home, note), indent=2))
        return 0
    print(f"up at {note['url']} since {note['started_at']} (pid {note['pid']})")
    defaults = asdict(Settings())
    for name, value in asdict(last_settings(home)).items():
        if value != defaults[name]:
            print(f"{'setting':<12} {name:<50} {value}")
    for kind, name, state, rest in inventory(home):
        print(f"{kind:<12} {name:<50} {state:<10} {rest}")
    for row in listed(home):
        print(describe(row))
    return 0


def _content(home: Home, note: dict[str, Any]) -> dict[str, Any]:
    """Return what a running sandbox serves, for a program."""
    names = ("kind", "name", "state", "details")
    return {
        "url": note["url"],
        "started_at": note["started_at"],
        "pid": note["pid"],
        "settings": asdict(last_settings(home)),
        "resources": [dict(zip(names, row, strict=True)) for row in inventory(home)],
        "faults": listed(home),
    }


def _note(arguments: argparse.Namespace) -> dict[str, Any] | None:
    home = Home.find(arguments.home)
    note = home.read_note()
    if note is None:
        print(f"No sandbox is up in {home.root}. Start one: opslib sandbox up", file=sys.stderr)
    return note
