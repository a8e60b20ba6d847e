"""`opslib sandbox ...`: words to functions, outcomes to exit codes."""

import argparse
import json
import os
import shlex
import signal
import sqlite3
import subprocess
import sys
import time
from contextlib import closing
from dataclasses import asdict, fields, replace
from typing import Any

from opslib.sandbox.cli.fault_command import describe, listed
from opslib.sandbox.cli.fault_command import register as register_fault
from opslib.sandbox.cli.principal_command import register as register_principal
from opslib.sandbox.core.home import Home
from opslib.sandbox.core.process import ProcessId
from opslib.sandbox.core.settings import Settings

START_TIMEOUT_S = 90.0
_LOG_BYTES = 5_000_000


class SandboxError(Exception):
    """A command cannot be done; the message says why and what to do."""


def register(subparsers: Any) -> None:
    """Add `sandbox` and its words to a command line."""
    sandbox = subparsers.add_parser("sandbox", help="a local Azure ML: managed online endpoints on loopback")
    words = sandbox.add_subparsers(dest="sandbox_word", required=True)
    up = _word(words, "up", "start it, unless it is up", _up)
    up.add_argument(
        "--port", type=int, default=0, help="port on 127.0.0.1 (default: as last time, else a free one)"
    )
    for knob in fields(Settings):
        kind = {"float": float, "int": int, "str": str, float: float, int: int, str: str}.get(knob.type, int)
        said = f"see settings.py (default: as last time, else {knob.default})"
        up.add_argument("--" + knob.name.replace("_", "-"), type=kind, help=said)
    _word(words, "status", "say whether it is up, and what it serves", _status)
    env = _word(words, "env", "print the variables that point a program at it", _env)
    env.add_argument(
        "--azure-names", action="store_true", help="for programs that have management.azure.com written down"
    )
    env.add_argument("--json", action="store_true", help="print the whole note instead of export lines")
    _word(words, "down", "stop it and all instances; state is kept", _down)
    _word(words, "reset", "stop it and wipe its state", _reset)
    from opslib.sandbox.cli.load import register as register_traffic  # noqa: PLC0415 - it needs nothing of the above

    register_fault(_word(words, "fault", "declare, list and clear faults", None))
    register_principal(_word(words, "principal", "add, list and remove identities with fewer rights", None))
    register_traffic(_word(words, "traffic", "send honest open-loop load to an endpoint", None))


def start(home: Home, settings: Settings | None = None, port: int = 0) -> dict[str, Any]:
    """Start a sandbox and wait until it answers; return its note.

    Parameters
    ----------
    settings
        All of its knobs; None: as it had them last, else the defaults.

    Raises
    ------
    SandboxError
        If it does not answer; the message ends with the last lines of its log.
    """
    note = home.read_note()
    if note is not None:
        return note
    settings = settings or remembered(home)
    home.prepare()
    home.write_settings(asdict(settings))
    home.note.unlink(missing_ok=True)
    command = [sys.executable, "-P", "-m", "opslib.sandbox.server.daemon", str(home.root), str(port)]
    if home.log.exists() and home.log.stat().st_size > _LOG_BYTES:
        home.log.replace(home.log.with_suffix(".log.1"))
    with home.log.open("ab") as log:
        process = subprocess.Popen(
            [*command, json.dumps(asdict(settings))],
            stdin=subprocess.DEVNULL,
            stdout=log,
            stderr=log,
            cwd=home.root,
            start_new_session=True,
        )
    deadline = time.monotonic() + START_TIMEOUT_S
    while time.monotonic() < deadline and process.poll() is None:
        note = home.read_note()
        if note is not None:
            process.returncode = 0  # it is a daemon now: nobody waits for it
            return note
        time.sleep(0.01)
    how = f"did not answer within {START_TIMEOUT_S:g} s"
    if process.poll() is None:
        process.kill()
    else:
        how = f"ended with code {process.returncode} while starting"
    tail = home.log.read_text(encoding="utf-8", errors="replace")[-2000:]
    raise SandboxError(f"the sandbox {how}: see {home.log}\n{tail}")


def remembered(home: Home) -> Settings:
    """Return the knobs that a sandbox had last; what is not known of it is the default."""
    known = {knob.name for knob in fields(Settings)}
    return Settings(**{name: value for name, value in home.read_settings().items() if name in known})


def stop(home: Home) -> bool:
    """Stop a sandbox and its instances; answer whether there was one."""
    note = home.read_note()
    process = home.process(note) if note is not None else None
    if process is not None:
        os.kill(process.pid, signal.SIGTERM)
        if not _gone(process, 15.0):
            os.kill(process.pid, signal.SIGKILL)
            _gone(process, 5.0)
    home.note.unlink(missing_ok=True)
    for orphan in _recorded_instances(home):
        orphan.end(grace_s=1.0)
    return process is not None


def _gone(process: ProcessId, within_s: float) -> bool:
    deadline = time.monotonic() + within_s
    while process.alive() and time.monotonic() < deadline:
        time.sleep(0.02)
    return not process.alive()


def _word(words: Any, name: str, text: str, run: Any) -> argparse.ArgumentParser:
    parser: argparse.ArgumentParser = words.add_parser(name, help=text, description=text)
    parser.add_argument("--home", help="folder of the sandbox (default: $OPSLIB_SANDBOX_HOME or ~/.opslib/sandbox)")
    if run is not None:
        parser.set_defaults(run=run)
    return parser


def _up(arguments: argparse.Namespace) -> int:
    home = Home.find(arguments.home)
    already = home.read_note()
    given = {knob.name: getattr(arguments, knob.name) for knob in fields(Settings)}
    try:
        settings = replace(remembered(home), **{name: value for name, value in given.items() if value is not None})
    except ValueError as error:
        print(error, file=sys.stderr)
        return 2
    if already is not None and settings != remembered(home):
        print("It is up, and keeps the knobs it has: `opslib sandbox down` first.", file=sys.stderr)
    try:
        note = start(home, settings, arguments.port)
    except SandboxError as error:
        print(error, file=sys.stderr)
        return 1
    word = "is already up" if already is not None else "is up"
    print(f"The sandbox {word} at {note['url']} (pid {note['pid']}, home {home.root}).")
    print('Point a program at it: eval "$(opslib sandbox env)"')
    return 0


def _down(arguments: argparse.Namespace) -> int:
    home = Home.find(arguments.home)
    print("The sandbox is down." if stop(home) else f"No sandbox was up in {home.root}.")
    return 0


def _reset(arguments: argparse.Namespace) -> int:
    from opslib.sandbox.server.daemon import wipe  # noqa: PLC0415 - only here: it imports the server

    home = Home.find(arguments.home)
    stop(home)
    wipe(home)
    print(f"The sandbox in {home.root} is down and empty.")
    return 0


def _env(arguments: argparse.Namespace) -> int:
    note = _note(arguments)
    if note is None:
        return 1
    if arguments.json:
        print(json.dumps(note, indent=2))
        return 0
    chosen = "azure_environment" if arguments.azure_names else "environment"
    for name, value in note[chosen].items():
        print(f"export {name}={shlex.quote(value)}")
    return 0


def _status(arguments: argparse.Namespace) -> int:
    note = _note(arguments)
    if note is None:
        return 1
    print(f"up at {note['url']} since {note['started_at']} (pid {note['pid']})")
    usual = asdict(Settings())
    for name, value in asdict(remembered(Home.find(arguments.home))).items():
        if value != usual[name]:
            print(f"{'knob':<12} {name:<50} {value}")
    for kind, name, state, rest in _inventory(Home.find(arguments.home)):
        print(f"{kind:<12} {name:<50} {state:<10} {rest}")
    for row in listed(Home.find(arguments.home)):
        print(describe(row))
    return 0


def _note(arguments: argparse.Namespace) -> dict[str, Any] | None:
    home = Home.find(arguments.home)
    note = home.read_note()
    if note is None:
        print(f"No sandbox is up in {home.root}: start one with `opslib sandbox up`.", file=sys.stderr)
    return note


def _inventory(home: Home) -> list[tuple[str, str, str, str]]:
    rows = []
    for kind, resource_id, text in _read(home, "SELECT kind, id, body FROM resources ORDER BY sequence"):
        body = json.loads(text)
        names = resource_id.split("/")
        if kind == "onlineEndpoints":
            rest = f"traffic {body['properties']['traffic']}"
            rows.append(("endpoint", names[-1], body["properties"]["provisioningState"], rest))
        if kind == "deployments":
            rest = f"{body['properties']['instanceType']} x {body['sku']['capacity']}"
            rows.append(("deployment", f"{names[-3]}/{names[-1]}", body["properties"]["provisioningState"], rest))
    for deployment, pid, ticks, port in _read(home, "SELECT deployment, pid, started_ticks, port FROM instances"):
        names = deployment.split("/")
        state = "running" if ProcessId(pid, ticks).alive() else "gone"
        rows.append(("instance", f"{names[-3]}/{names[-1]}", state, f"pid {pid} port {port}"))
    return rows


def _recorded_instances(home: Home) -> list[ProcessId]:
    return [ProcessId(pid, ticks) for pid, ticks in _read(home, "SELECT pid, started_ticks FROM instances")]


def _read(home: Home, sql: str) -> list[tuple[Any, ...]]:
    path = home.state / "state.db"
    if not path.exists():
        return []
    with closing(sqlite3.connect(f"file:{path}?mode=ro", uri=True)) as connection:
        return connection.execute(sql).fetchall()
