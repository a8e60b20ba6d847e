"""Exports of runs for other tools: a Parquet table, or a folder of notebooks for scrapbook."""

import shutil
from collections.abc import Sequence
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive.index import COLUMNS, RunRow
from opslib.evidence.run.files import NOTEBOOK


def export_parquet(rows: Sequence[RunRow], path: Path) -> None:
    """Write runs as one Parquet table; times are ISO 8601 text, which every engine reads the same way.

    Raises
    ------
    RecordError
        If pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - an optional dependency
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise RecordError("a Parquet export needs pyarrow: pip install pyarrow") from error
    kinds = {"duration_s": pa.float64(), "quarantined": pa.bool_()}
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    columns = {name: [getattr(row, name) for row in rows] for name in COLUMNS}
    try:
        parquet.write_table(pa.table(columns, schema=schema), path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}") from error


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
