"""`opslib verify`: verify that runs are unaltered and complete."""

import argparse
import json
import sys
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, add_published_option, open_archive
from opslib.errors import OpsError
from opslib.model.text import counted

if TYPE_CHECKING:
    from opslib.evidence.verify.verify import Verified

EPILOG = """\
exit codes:
  0  sound                                 2  incomplete: not ended or not sealed, or missing
  1  tampered: changed, removed, added     3  signed by an unknown key
     or moved since it was sealed          4  could not be verified
the worst finding decides: tampered, then unknown key, then incomplete

examples:
  opslib verify --keys trusted-keys.pem
  opslib verify --save baseline.json            everything; the next line continues from it
  opslib verify --since baseline.json --save baseline.json
"""

NOT_VERIFIED = 4


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Verify seals, ledger and checkpoints: offline, with public keys, without secrets.\n"
        "Each finding names its run and file."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "path", nargs="?", metavar="PATH", help="an archive, a run's folder, or a run's id (default: the archive)"
    )
    parser.add_argument(
        "--keys",
        type=Path,
        metavar="FILE",
        help="trusted public keys in PEM (default: OPSLIB_TRUSTED_KEYS, else trusted-keys.pem of the settings, "
        "else the archive's own keys)",
    )
    parser.add_argument(
        "--tsa",
        type=Path,
        metavar="FILE",
        help="certificates of the time stamp authority in PEM (default: the issuer of time tokens is not verified)",
    )
    parser.add_argument(
        "--save",
        type=Path,
        metavar="BASELINE",
        help="write a baseline, signed with your key, from which --since continues; not where something is altered "
        "(default: none)",
    )
    parser.add_argument(
        "--since",
        type=Path,
        metavar="BASELINE",
        help="do not read the files of the runs again that a baseline covers: of those, changes since it are found "
        "only by a verification without --since (default: everything is read)",
    )
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_option(parser)
    add_published_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Verify; print the findings and the state."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.evidence.verify.verify import save_baseline, verify

    try:
        with open_archive(arguments) as archive:
            path = archive
            if arguments.path:
                given = Path(arguments.path)
                path = given if given.is_dir() else find_run(archive, arguments.path)
            partial = bool(arguments.url)
            result = verify(
                path, arguments.keys, arguments.tsa, missing_is_tampered=not partial, since=arguments.since
            )
            if arguments.save and result.baseline:
                save_baseline(result, arguments.save)
    except (OpsError, OSError) as error:
        print(f"opslib: {error}", file=sys.stderr)
        return NOT_VERIFIED
    if arguments.json:
        print(json.dumps(asdict(replace(result, baseline=None)), indent=2))
    else:
        _print(result)
    if arguments.save and not result.baseline:
        print(f"no baseline was written: {arguments.save}: the state is {result.state}", file=sys.stderr)
    return result.state.exit_code


def _print(result: "Verified") -> None:
    for finding in result.findings:
        print(finding)
    which = "runs after the baseline" if result.taken else "runs"
    print(f"{result.state}: {result.sealed} of {result.runs} {which} sealed; ledger head {result.head_sha256[:16]}")
    if result.taken:
        taken = result.taken
        print(
            f"verified now: {counted(result.runs, 'run')}, and every byte of the ledger. Taken from the baseline "
            f"of {taken.at}, signed by key {taken.keyid[:16]}: {counted(taken.runs, 'run')} and "
            f"{counted(taken.checkpoints, 'checkpoint')} up to line {taken.lines}; "
            "they are there, their files were not read"
        )
    if not result.pinned:
        print(
            "warning: the keys are the archive's own; a person who can write to it could have signed it. "
            "Verify with keys kept elsewhere: --keys FILE",
            file=sys.stderr,
        )
