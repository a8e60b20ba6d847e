"""`opslib seal`: end and seal a run that was left unfinished."""

import argparse
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.evidence.run.files import RECORD

EPILOG = """\
example:
  opslib seal 20260131T120000Z-canary-fraud
  opslib seal 20260131T120000Z-canary-fraud --notebook canary-1.ipynb
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "End and seal a run that was left unfinished: a notebook run by hand, or a run whose runner died.\n"
        "It keeps the outcome that it recorded; without one it becomes aborted. Traffic is not changed."
    )
    parser.epilog = EPILOG
    parser.add_argument("name", metavar="RUN", help="a run's id, a part of it, or its folder")
    parser.add_argument(
        "--notebook",
        type=Path,
        metavar="FILE",
        help="the saved notebook that was executed by hand or by papermill, to be sealed with the run; "
        "a secret that only its kernel knew is not masked",
    )
    parser.add_argument("--json", action="store_true", help="print the record as it was sealed")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Seal the run; print its outcome and the digest of the seal."""
    from opslib.evidence.archive.run_folders import find_run
    from opslib.evidence.finish import end_unfinished, require_unfinished
    from opslib.evidence.run.notebook import keep_notebook

    folder = find_run(archive_of(arguments), arguments.name)
    if arguments.notebook:
        require_unfinished(folder)
        keep_notebook(arguments.notebook, folder)
    sealed = end_unfinished(folder)
    if arguments.json:
        print((folder / RECORD).read_text(encoding="utf-8"), end="")
        return 0
    print(f"{sealed.record.run_id}: sealed as {sealed.record.outcome}; {sealed.record.reason}")
    print(sealed.notice or f"seal {sealed.attestation_sha256}")
    return 0
