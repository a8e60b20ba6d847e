"""The command line. A command's module is imported only when that command is given, so that help is fast."""

import argparse
import gc
import os
import sys
from collections.abc import Mapping, Sequence
from importlib import import_module
from typing import Any

from opslib.errors import OpsError
from opslib.quick_end import QuickEnd

DESCRIPTION = "Runbooks for Azure ML managed online endpoints."

EPILOG = """\
opslib COMMAND --help shows a command's options and an example.

exit codes of `opslib run`:
  0  succeeded, or planned (dry run)      3  rolled back
  1  failed                               4  held: not decided, or not verified
  2  refused: nothing was changed         5  aborted: killed, timed out or interrupted
                                          6  waiting for approval: nothing was changed
"""


COMMANDS: Mapping[str, Mapping[str, str]] = {
    "change endpoints": {
        "run": "execute a runbook and leave one folder of evidence",
        "answer": "decide for a canary that waits for an answer (on_hold=ask)",
        "recover": "return traffic that unwatched canaries still hold",
        "autoscale": "show, check, create and move autoscale settings",
        "fleet": "run a runbook on many endpoints in batches, by a wave file",
    },
    "look at endpoints": {
        "status": "show an endpoint's traffic, states, error budget and alerts",
        "diagnose": "find why an endpoint fails, with evidence",
        "inventory": "list all deployments with cost, requests, owner, last change",
        "drift": "compare endpoints with definitions, an inventory, or a run's end",
        "cost": "show what an endpoint costs, and would with other instances",
        "review": "review an endpoint's security; changes nothing",
    },
    "prepare": {
        "init": "write an endpoint's folder from the live endpoint",
        "check": "check an endpoint's definitions, probes and policy without Azure",
        "parameters": "list the parameters of a runbook",
        "notebooks": "copy the runbooks' notebooks into a folder for editing",
        "lab": "open JupyterLab on the runbooks, with a workspace",
        "pipeline": "write a pipeline for an endpoint's folder, for GitHub and others",
        "role": "print the smallest custom role for the runbooks",
        "doctor": "check whether runs would work here",
        "warm": "keep a prepared process, so that runs start at once",
        "notify": "send a test message to the receivers of a policy",
        "completion": "print the lines that make a shell complete opslib",
    },
    "evidence": {
        "runs": "list the runs, newest first; show one; export them",
        "approve": "sign the plan of a dry run with your own key",
        "verify": "verify that runs are unaltered and complete, offline",
        "judge": "re-judge a recorded canary and compare the verdicts",
        "seal": "end and seal a run that was left unfinished, such as one by hand",
        "publish": "copy sealed runs to blob storage",
        "compact": "rewrite the table of published runs, one file per month",
    },
    "practise": {
        "demo": "run a whole release on a sandbox of its own, under live traffic",
        "sandbox": "a local Azure ML: managed online endpoints on loopback",
    },
}
"""What each command does, in groups as help lists them."""

MODULES = {"sandbox": "opslib.sandbox.cli.commands"}
"""Modules of the commands that are not in this folder."""

GARBAGE_THRESHOLD = 50_000
"""Objects made before Python searches for garbage: imports make many, and none of them is garbage [count]."""

COMPLETES = "_ARGCOMPLETE"
"""Variable that a shell sets when it requests completions."""


class CommandParser(argparse.ArgumentParser):
    """The parser of one command.

    Parameters
    ----------
    module
        Module of the command: `describe(parser)` adds its options, `run(arguments)` does the work. Empty for a
        command whose options are added where it is registered.
    """

    def __init__(self, *args: Any, module: str = "", **kwargs: Any) -> None:
        kwargs.setdefault("formatter_class", argparse.RawDescriptionHelpFormatter)
        super().__init__(*args, **kwargs)
        self._module = module

    def load(self) -> None:
        """Add the options of the command's module, once."""
        if self._module:
            command, self._module = import_module(self._module), ""
            command.describe(self)
            if hasattr(command, "run"):  # not where each of its own commands sets it
                self.set_defaults(run=command.run)

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        """Parse arguments, with the options that the command's module adds."""
        self.load()
        return super().parse_known_args(args, namespace)


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    if argv is None:  # a process of its own
        _open_streams()
        if (code := _run_prepared(sys.argv[1:])) is not None:
            return code
        gc.set_threshold(GARBAGE_THRESHOLD)
        end = QuickEnd()
        end.code = _run(None)
        return end.code
    return _run(argv)


def _open_streams() -> None:
    """Open the null device for each standard stream that is closed: else the next file has its descriptor."""
    for name, mode in {"stdin": "r", "stdout": "w", "stderr": "w"}.items():
        if getattr(sys, name) is None:
            setattr(sys, name, open(os.devnull, mode))  # noqa: SIM115, PTH123 - for good, without pathlib


def _run(argv: Sequence[str] | None) -> int:
    words = sys.argv[1:] if argv is None else argv
    parser = make_parser("" if COMPLETES in os.environ else next(iter(words), ""))
    if not words and COMPLETES not in os.environ:
        parser.print_help(sys.stderr)
        return 2
    if COMPLETES in os.environ:
        from opslib.cli.completion import complete

        complete(parser)
    try:
        arguments = parser.parse_args(argv)
        arguments.own_process = argv is None
        return int(arguments.run(arguments))
    except BrokenPipeError:
        from opslib.cli.output import give_up_stdout

        give_up_stdout()
        return 1
    except (KeyboardInterrupt, OSError, OpsError) as error:
        from opslib.cli.failure import report

        return report(error)


def _run_prepared(words: Sequence[str]) -> int | None:
    """Have the prepared process of `opslib warm` run a command that executes a runbook; None if none does."""
    if tuple(words[:1]) != ("run",) and tuple(words[:2]) != ("fleet", "member"):
        return None
    from opslib.warm.place import has_socket

    if not has_socket():
        return None
    from opslib.warm.client import end_as, hand_over

    code = hand_over(words)
    return None if code is None else end_as(code)


def make_parser(given: str = "") -> argparse.ArgumentParser:
    """Return the parser of the whole command line; a command's options are added when it is given.

    Parameters
    ----------
    given
        A command that is given: the parsers of all others are left out, 20 ms.
    """
    usage = "opslib [-h] COMMAND ..."
    parser = CommandParser(prog="opslib", usage=usage, description=_listed(), epilog=EPILOG)
    commands = parser.add_subparsers(
        dest="command", required=True, metavar="COMMAND", prog="opslib", help=argparse.SUPPRESS
    )
    known = {name: text for group in COMMANDS.values() for name, text in group.items()}
    for name, text in known.items():
        if name == given or given not in known:
            commands.add_parser(name, module=MODULES.get(name, f"opslib.cli.{name}"), help=text)
    return parser


def _listed() -> str:
    """Return the description with the commands by group, a line each."""
    lines = [DESCRIPTION]
    for title, group in COMMANDS.items():
        lines += ["", f"{title}:", *(f"    {name:<12}{text}" for name, text in group.items())]
    return "\n".join(lines)


if __name__ == "__main__":
    sys.exit(main())
