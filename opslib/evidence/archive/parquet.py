"""Rows as one Parquet table, for every export."""

import io
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import BinaryIO

from opslib.errors import RecordError

Types = Mapping[str, type[int | float | bool]]


def write_parquet(rows: Iterable[object], columns: Sequence[str], types: Types, path: Path | BinaryIO) -> None:
    """Write rows as one Parquet table.

    Parameters
    ----------
    columns
        The rows' attributes that are written, in this order.
    types
        Types of those that are not text; times are ISO 8601 text, which every engine reads the same way.

    Raises
    ------
    RecordError
        If pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - half a second, and an optional dependency
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise RecordError("Parquet needs pyarrow: pip install pyarrow") from error
    kinds = {int: pa.int64(), float: pa.float64(), bool: pa.bool_()}
    schema = pa.schema([(name, kinds[types[name]] if name in types else pa.string()) for name in columns])
    read = list(rows)
    values = {name: [getattr(row, name) for row in read] for name in columns}
    try:
        parquet.write_table(pa.table(values, schema=schema), path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}") from error


def parquet_bytes(rows: Iterable[object], columns: Sequence[str], types: Types) -> bytes:
    """Return rows as the content of a Parquet file, as `write_parquet` writes it."""
    buffer = io.BytesIO()
    write_parquet(rows, columns, types, buffer)
    return buffer.getvalue()
