"""Exports of runs for other tools: a Parquet table, or a folder of notebooks for scrapbook."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from opslib.evidence.archive.parquet import write_parquet
from opslib.evidence.archive.run_row import COLUMNS, TYPES, RunRow
from opslib.evidence.run.files import NOTEBOOK


def export_parquet(rows: Sequence[RunRow], path: Path) -> None:
    """Write runs as one Parquet table; times are ISO 8601 text."""
    write_parquet(rows, COLUMNS, TYPES, path)


def export_notebooks(archive: Path, rows: Sequence[RunRow], folder: Path) -> int:
    """Copy the notebooks into one folder, each named after its run; return their number.

    `scrapbook.read_notebooks` reads one folder and identifies a notebook by its file name.
    """
    folder.mkdir(parents=True, exist_ok=True)
    count = 0
    for row in rows:
        source = archive / row.folder / NOTEBOOK
        if source.is_file():
            shutil.copyfile(source, folder / f"{row.run}.ipynb")
            count += 1
    return count
