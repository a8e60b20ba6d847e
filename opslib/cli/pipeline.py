"""`opslib pipeline`: write a ready pipeline for an endpoint's folder."""

import argparse
from pathlib import Path

from opslib.errors import DefinitionError

EPILOG = """\
The pipeline checks the folder, deploys, validates, plans, waits for approval, runs the canary and retires an old
deployment. Beside it, `opslib recover` and a drift check run on a schedule. It signs in by workload identity and
stores no secret; the head of each file lists what to set up. Run it again with --force after the folder's files
have changed.

exit codes:
  0  the files were written            2  nothing was written: a file exists, or the folder has errors

example:
  opslib pipeline github fraud/
"""

SYSTEMS = ("github", "azure-devops", "azureml", "airflow")


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Write a pipeline that releases from an endpoint's folder, at the repository's root: run it there."
    )
    parser.epilog = EPILOG
    parser.add_argument("system", choices=SYSTEMS, metavar="SYSTEM", help=", ".join(SYSTEMS))
    parser.add_argument(
        "folder", type=Path, metavar="FOLDER", help="the endpoint's folder, relative to the repository's root"
    )
    parser.add_argument(
        "--requirement",
        default="",
        metavar="TEXT",
        help="what pip installs: a version in your package feed, or a wheel in the repository "
        "(default: opslib in this version)",
    )
    parser.add_argument(
        "--probes",
        default="",
        metavar="NAME",
        help="probes file in the folder (default: the only one; none if there are several)",
    )
    parser.add_argument("--show", action="store_true", help="print the files and write none")
    parser.add_argument("--force", action="store_true", help="overwrite files that exist")


def run(arguments: argparse.Namespace) -> int:
    """Write the files; print their paths."""
    from opslib.pipelines.release import read_release
    from opslib.pipelines.render import render_pipeline

    release = read_release(arguments.folder, arguments.requirement, arguments.probes)
    files = render_pipeline(arguments.system, release)
    if arguments.show:
        print("\n".join(f"# --- {path}\n{text}" for path, text in files.items()))
        return 0
    written = {Path(path): text for path, text in files.items()}
    there = [str(path) for path in written if path.exists()]
    if there and not arguments.force:
        raise DefinitionError(f"{', '.join(there)} exists: nothing was written. --force overwrites, --show prints")
    for path, text in written.items():
        _write(path, text)
        print(path)
    return 0


def _write(path: Path, text: str) -> None:
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text, encoding="utf-8")
    except OSError as error:
        raise DefinitionError(f"{path} cannot be written: {error.strerror}") from error
