"""The archive: one folder per run, ``runs/<YYYY-MM>/<UTC time>-<runbook>-<endpoint>-<id>/``."""

import os
import secrets
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.record import NAME, Record, read_record


def find_archive() -> Path:
    """The folder of all runs: ``OPSLIB_RUNS``, else the nearest ``runs`` from here upwards, else one made here."""
    configured = os.environ.get("OPSLIB_RUNS")
    if configured:
        return Path(configured)
    here = Path.cwd()
    return next((f / "runs" for f in (here, *here.parents) if (f / "runs").is_dir()), here / "runs")


def new_folder(archive: Path, runbook: str, endpoint: str) -> Path:
    """Make the folder of a new run; its name sorts by time and is the run's id."""
    now = datetime.now(UTC)
    run_id = f"{now:%Y%m%dT%H%M%SZ}-{runbook}-{endpoint}-{secrets.token_hex(3)}"
    folder = archive / f"{now:%Y-%m}" / run_id
    try:
        folder.mkdir(parents=True)
    except OSError as error:
        raise RecordError(f"no folder for the run: {folder} cannot be made: {error}") from error
    return folder.resolve()


def read_archive(archive: Path, endpoint: str = "") -> Iterator[tuple[Path, Record]]:
    """Read the runs, newest first; a folder without a readable record is passed over."""
    for path in sorted(archive.glob(f"*/*/{NAME}"), key=lambda p: p.parent.name, reverse=True):
        try:
            record = read_record(path.parent)
        except RecordError:
            continue
        if not endpoint or record.endpoint.lower() == endpoint.lower():
            yield path.parent, record
