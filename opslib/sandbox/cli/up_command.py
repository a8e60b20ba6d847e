"""`opslib sandbox up`, `down` and `reset`: start and stop a sandbox."""

import argparse
import sys
from dataclasses import replace
from pathlib import Path

from opslib.sandbox.cli.control import SandboxError, last_settings, start, stop
from opslib.sandbox.cli.options import add_field_options, chosen
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.settings import Settings

_MAX_PORT = 65_535


def register(parser: argparse.ArgumentParser) -> None:
    """Add the options of `up`: the port, and each setting."""
    parser.add_argument(
        "--port",
        type=_port,
        default=0,
        metavar="PORT",
        help="port on 127.0.0.1 (default: the port of the last start, else a free one)",
    )
    add_field_options(parser, Settings)
    parser.set_defaults(run=up)


def up(arguments: argparse.Namespace) -> int:
    """Start the sandbox unless it is up; return 0, 1 if it does not start, 2 if a setting is invalid."""
    home = Home.find(arguments.home)
    already = home.read_note()
    try:
        settings = replace(last_settings(home), **chosen(arguments, Settings))
        if arguments.image_map:
            from opslib.sandbox.instances.image_map import read_image_map  # noqa: PLC0415 - only here: slow

            settings = replace(settings, image_map=str(Path(arguments.image_map).absolute()))
            read_image_map(Path(settings.image_map))
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if already is not None and settings != last_settings(home):
        print(
            "The sandbox is up and keeps its settings. To change them, first run: opslib sandbox down",
            file=sys.stderr,
        )
    try:
        note = start(home, settings, arguments.port)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    state = "is already up" if already is not None else "is up"
    print(f"The sandbox {state} at {note['url']} (pid {note['pid']}, home {home.root}).")
    print('Point a program at it: eval "$(opslib sandbox env)"')
    return 0


def down(arguments: argparse.Namespace) -> int:
    """Stop the sandbox."""
    home = Home.find(arguments.home)
    print("The sandbox is down." if stop(home) else f"No sandbox was up in {home.root}.")
    return 0


def reset(arguments: argparse.Namespace) -> int:
    """Stop the sandbox and delete its state."""
    from opslib.sandbox.server.daemon import wipe  # noqa: PLC0415 - only here: it imports the server

    home = Home.find(arguments.home)
    stop(home)
    wipe(home)
    print(f"The sandbox in {home.root} is down and empty.")
    return 0


def _port(text: str) -> int:
    if not text.isdecimal() or int(text) > _MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 0 to {_MAX_PORT}, got {text!r}")
    return int(text)
