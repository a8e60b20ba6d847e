"""The command line. A command's module is imported only when that command is given, so that help is fast."""

import argparse
import gc
import os
import sys
from collections.abc import Sequence
from importlib import import_module
from typing import Any

from opslib.errors import OpsError

DESCRIPTION = "Runbooks for Azure ML managed online endpoints."

EPILOG = """\
opslib COMMAND --help shows a command's options and an example.

exit codes of `opslib run`:
  0  succeeded, or planned (dry run)      3  rolled back
  1  failed                               4  held: not decided, or not verified
  2  refused: nothing was changed         5  aborted: killed, timed out or interrupted
                                          6  waiting for approval: nothing was changed
"""


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
        gc.set_threshold(GARBAGE_THRESHOLD)
    parser = make_parser()
    if COMPLETES in os.environ:
        from opslib.cli.completion import complete  # noqa: PLC0415 - only when a shell requests completions

        complete(parser)
    try:
        arguments = parser.parse_args(argv)
        arguments.own_process = argv is None
        return int(arguments.run(arguments))
    except BrokenPipeError:  # the reader has closed the pipe, as `| head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except (KeyboardInterrupt, OSError, OpsError) as error:
        from opslib.cli.failure import report  # noqa: PLC0415 - help does without

        return report(error)


def make_parser() -> argparse.ArgumentParser:
    """Return the parser of the whole command line; a command's options are added when it is given."""
    parser = CommandParser(prog="opslib", description=DESCRIPTION, epilog=EPILOG)
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND", title="commands")
    commands.add_parser("run", module="opslib.cli.run", help="execute a runbook and leave one folder of evidence")
    commands.add_parser(
        "notebooks", module="opslib.cli.notebooks", help="copy the runbooks' notebooks into a folder for editing"
    )
    commands.add_parser("lab", module="opslib.cli.lab", help="open JupyterLab on the runbooks, with a workspace")
    commands.add_parser("parameters", module="opslib.cli.parameters", help="list the parameters of a runbook")
    commands.add_parser(
        "completion", module="opslib.cli.completion", help="print the lines that make a shell complete opslib"
    )
    commands.add_parser("init", module="opslib.cli.init", help="write an endpoint's folder from the live endpoint")
    commands.add_parser(
        "check", module="opslib.cli.check", help="check an endpoint's definitions, probes and policy without Azure"
    )
    commands.add_parser("doctor", module="opslib.cli.doctor", help="check whether runs would work here")
    commands.add_parser("role", module="opslib.cli.role", help="print the smallest custom role for the runbooks")
    commands.add_parser(
        "pipeline",
        module="opslib.cli.pipeline",
        help="write a pipeline for an endpoint's folder, for GitHub and others",
    )
    commands.add_parser(
        "cost", module="opslib.cli.cost", help="show what an endpoint costs, and what it would with other instances"
    )
    commands.add_parser(
        "fleet", module="opslib.cli.fleet", help="run a runbook on many endpoints in batches, by a wave file"
    )
    commands.add_parser(
        "inventory",
        module="opslib.cli.inventory",
        help="list all deployments with cost, requests, owner, last change",
    )
    commands.add_parser(
        "drift", module="opslib.cli.drift", help="compare endpoints with definitions, an inventory, or a run's end"
    )
    commands.add_parser(
        "status", module="opslib.cli.status", help="show an endpoint's traffic, states, error budget and alerts"
    )
    commands.add_parser(
        "autoscale", module="opslib.cli.autoscale", help="show, check, create and move autoscale settings"
    )
    commands.add_parser("review", module="opslib.cli.review", help="review an endpoint's security; changes nothing")
    commands.add_parser("diagnose", module="opslib.cli.diagnose", help="find why an endpoint fails, with evidence")
    commands.add_parser("runs", module="opslib.cli.runs", help="list the runs, newest first; show one; export them")
    commands.add_parser(
        "verify", module="opslib.cli.verify", help="verify that runs are unaltered and complete, offline"
    )
    commands.add_parser("approve", module="opslib.cli.approve", help="sign the plan of a dry run with your own key")
    commands.add_parser(
        "seal",
        module="opslib.cli.seal",
        help="end and seal a run that was left unfinished, such as one run by hand",
    )
    commands.add_parser("publish", module="opslib.cli.publish", help="copy sealed runs to blob storage")
    commands.add_parser(
        "compact", module="opslib.cli.compact", help="rewrite the table of published runs, one file per month"
    )
    commands.add_parser(
        "recover", module="opslib.cli.recover", help="return traffic that unwatched canaries still hold"
    )
    commands.add_parser(
        "judge", module="opslib.cli.judge", help="re-judge a recorded canary and compare the verdicts"
    )
    commands.add_parser(
        "answer", module="opslib.cli.answer", help="decide for a canary that waits for an answer (on_hold=ask)"
    )
    commands.add_parser(
        "notify", module="opslib.cli.notify", help="send a test message to the receivers of a policy"
    )
    commands.add_parser(
        "demo", module="opslib.cli.demo", help="run a whole release on a sandbox of its own, under live traffic"
    )
    commands.add_parser(
        "sandbox",
        module="opslib.sandbox.cli.commands",
        help="a local Azure ML: managed online endpoints on loopback",
    )
    return parser


if __name__ == "__main__":
    sys.exit(main())
