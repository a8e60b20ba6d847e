"""`opslib judge`: re-judge a recorded canary."""

import argparse
import json
from dataclasses import asdict

from opslib.cli.archive_option import add_archive_option, archive_of

EPILOG = """\
exit codes:
  0  every verdict is the same            1  a verdict differs

example:
  opslib judge 20260101T120000Z-canary-fraud-1a2b3c
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = "Re-judge a recorded canary from its journal alone, and compare every verdict."
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="RUN", help="a run's id, a part of it, or its folder")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Re-judge each look; print whether its verdict is the same."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.runbooks.canary.rejudge import judge_again

    looks = list(judge_again(find_run(archive_of(arguments), arguments.name)))
    different = sum(not look.same for look in looks)
    if arguments.json:
        print(json.dumps([asdict(look) for look in looks], indent=2))
        return 1 if different else 0
    for look in looks:
        print(f"{look.at[11:19]}  {'same' if look.same else 'DIFFERS, was ' + look.then}  {look.sentence}")
    print(f"{different} of {len(looks)} verdicts differ when re-judged from the record alone")
    return 1 if different else 0
