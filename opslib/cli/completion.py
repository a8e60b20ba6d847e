"""`opslib completion`, and what a shell completes: commands, options, runbooks, parameters, runs.

argcomplete, because a completion reads what is there now, such as the ids of runs; a script that is generated once
could complete only the options.
"""

import argparse
import os
from collections.abc import Callable, Iterable, Mapping
from typing import Any, get_args

from opslib.cli.archive_option import archive_of
from opslib.errors import OpsError
from opslib.runbook_names import RUNBOOK_NAMES

EPILOG = """\
examples:
  opslib completion bash >> ~/.bashrc
  opslib completion zsh >> ~/.zshrc
  opslib completion fish > ~/.config/fish/completions/opslib.fish
"""

NEWEST = 100
"""Runs that are completed, the newest ones [count]."""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Print the lines that make a shell complete opslib: commands, parameters, ids of runs."
    parser.epilog = EPILOG
    parser.add_argument("shell", choices=["bash", "zsh", "fish"], help="the shell")


def run(arguments: argparse.Namespace) -> int:
    """Print the lines."""
    import argcomplete

    print(argcomplete.shellcode(["opslib"], shell=arguments.shell))
    return 0


def complete(parser: argparse.ArgumentParser, **streams: Any) -> None:
    """Print the completions of the line in ``COMP_LINE``, and end the process."""
    import argcomplete

    _load(parser, os.environ.get("COMP_LINE", ""))
    argcomplete.autocomplete(parser, always_complete_options="long", **streams)


def _load(parser: argparse.ArgumentParser, line: str) -> None:
    """Add the options of the commands that a line names: argcomplete looks only at those that are there."""
    for word in line.split()[1:3]:
        actions = parser._actions  # noqa: SLF001 - argparse has no public list
        choices = next((one.choices for one in actions if isinstance(one, argparse._SubParsersAction)), {})  # noqa: SLF001
        command = choices.get(word)
        if command is None:
            return
        command.load()
        for action in command._actions:  # noqa: SLF001
            completer = COMPLETERS.get(str(action.metavar))
            if completer is not None:
                action.completer = completer
        parser = command


def _runs(parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    from opslib.evidence.archive.index import RunQuery, find_runs

    try:
        rows, _total = find_runs(archive_of(parsed_args), RunQuery(limit=NEWEST))
    except (OpsError, AttributeError):
        return ()
    return [row.run for row in rows]


def _runbooks(**_: Any) -> Iterable[str]:
    return RUNBOOK_NAMES


def _parameters(prefix: str, parsed_args: argparse.Namespace, **_: Any) -> Iterable[str]:
    """Return ``name=`` for each parameter of the runbook, and the values where there are few."""
    from opslib.parameters import RUNBOOKS

    runbook = RUNBOOKS.get(getattr(parsed_args, "runbook", ""))
    if runbook is None:
        return ()
    name, equals, _value = prefix.partition("=")
    field = runbook.model_fields.get(name)
    if not equals or field is None:
        return [f"{one}=" for one in runbook.model_fields]
    values = ("true", "false") if field.annotation is bool else get_args(field.annotation)
    return [f"{name}={value}" for value in values if isinstance(value, str)]


COMPLETERS: Mapping[str, Callable[..., Iterable[str]]] = {
    "RUN": _runs,
    "RUN_OR_FILE": _runs,
    "NAME": lambda **_: (),
    "RUNBOOK": _runbooks,
    "NAME=VALUE": _parameters,
}
"""What completes an argument, by the placeholder that help shows for it; files where there is none."""
