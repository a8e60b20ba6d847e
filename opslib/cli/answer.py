"""`opslib answer`: decide for a canary that waits for an answer."""

import argparse

from opslib.cli.archive_option import add_archive_option, archive_of

EPILOG = """\
example:
  opslib answer 20260101T120000Z-canary-fraud-1a2b3c promote --reason "the failures are a client's retries"
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Decide for a canary that is undecided and waits for an answer (on_hold=ask)."
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="RUN", help="a run's id, a part of it, or its folder")
    parser.add_argument(
        "choice",
        choices=["promote", "rollback", "extend"],
        help="promote: continue although undecided; rollback: restore the traffic; extend: watch for another bake",
    )
    parser.add_argument("--reason", default="", help="the reason, for the record (default: none)")
    parser.add_argument("--who", default="", metavar="NAME", help="who decides (default: the user of this machine)")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Leave the answer in the run's folder."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.runbooks.canary.operator_decision import give_answer

    folder = find_run(archive_of(arguments), arguments.name)
    given = give_answer(folder, arguments.choice, arguments.reason, arguments.who)
    print(f"{folder.name}: {given.choice}, by {given.who}; it takes effect at the next look, within seconds")
    return 0
