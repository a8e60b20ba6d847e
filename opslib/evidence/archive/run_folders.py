"""The folders of the runs in an archive: ``runs/<YYYY-MM>/<UTC time>-<runbook>-<endpoint>-<id>/``."""

import glob
import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.run.files import MONTH_GLOB
from opslib.evidence.run.record import Record, read_record


def find_archive() -> Path:
    """Return the archive: ``OPSLIB_RUNS``, else the nearest ``runs`` here or in a parent, else ``./runs``."""
    configured = os.environ.get("OPSLIB_RUNS")
    if configured:
        return Path(configured)
    here = Path.cwd()
    return next((f / "runs" for f in (here, *here.parents) if (f / "runs").is_dir()), here / "runs")


def new_folder(archive: Path, runbook: str, endpoint: str) -> Path:
    """Create the folder of a new run. Its name is the run's id and sorts by time."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{runbook}-{endpoint}-{secrets.token_hex(3)}"
    folder = archive / f"{now:%Y-%m}" / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RecordError(
            f"cannot create the folder of the run, {folder}: {error.strerror}. Nothing was changed. Set the "
            "permissions of the archive, or name another one with --runs FOLDER"
        ) from error
    return folder.resolve()


def find_run(archive: Path, name: str) -> Path:
    """Return a run's folder, by its path, its id, or a part of the id that only one run has.

    Raises
    ------
    RecordError
        If there is no archive, no run matches, or several do.
    """
    given = Path(name)
    if given.is_dir():
        return given.resolve()
    if not archive.is_dir():
        raise RecordError(
            f"expected the id of one run or a part of it, got {name!r}; there is no archive {archive}. Change to "
            "the folder of your runs, or name it with --runs FOLDER"
        )
    found = [path for path in archive.glob(f"{MONTH_GLOB}/*{glob.escape(name)}*") if path.is_dir()]
    if len(found) != 1:
        first = ", ".join(sorted(p.name for p in found)[:5])
        why = f"{len(found)} runs match it: {first}" if found else f"no run in {archive} matches it"
        raise RecordError(
            f"expected the id of one run or a part of it, got {name!r}; {why}. `opslib runs` lists them"
        )
    return found[0].resolve()


def read_archive(archive: Path, endpoint: str = "") -> Iterator[tuple[Path, Record]]:
    """Yield folder and record of the runs, newest first; a folder without a readable record is skipped."""
    part = f"-{endpoint.lower()}-" if endpoint else ""
    months = [month for month in archive.glob(MONTH_GLOB) if month.is_dir()]
    found = [(name, month) for month in months for name in _names(month) if part in name.lower()]
    for name, month in sorted(found, reverse=True):
        folder = month / name
        try:
            record = read_record(folder)
        except RecordError:
            continue
        if not endpoint or record.endpoint.lower() == endpoint.lower():
            yield folder, record


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]
