"""The inventory for other tools: JSON with Azure's own bodies, CSV, TSV and Parquet."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.inventory.rows import COLUMNS, Inventory

VERSION = 1
"""Version of the JSON form."""


def as_json(inventory: Inventory) -> str:
    """Return rows, what could not be read, and the resources as Azure reported them, for a later `opslib drift`."""
    content = {
        "version": VERSION,
        "at": inventory.at.isoformat(timespec="seconds"),
        "source": inventory.source,
        "scope": asdict(inventory.scope),
        "workspaces": inventory.workspaces,
        "requests": inventory.requests,
        "rows": [asdict(row) for row in inventory.rows],
        "unread": [asdict(part) for part in inventory.unread],
        "resources": [
            {"endpoint": one.arm, "deployments": [deployment.arm for deployment in one.deployments]}
            for one in inventory.endpoints
        ],
        "autoscale": list(inventory.autoscale),
    }
    return json.dumps(content, indent=1, ensure_ascii=False)


def as_csv(inventory: Inventory) -> str:
    """Return the rows as comma-separated values, with a heading."""
    return _separated(inventory, ",")


def as_tsv(inventory: Inventory) -> str:
    """Return the rows as tab-separated values, with a heading."""
    return _separated(inventory, "\t")


TEXTS: Mapping[str, Callable[[Inventory], str]] = {"json": as_json, "csv": as_csv, "tsv": as_tsv}
"""Each form that is text, by its name and suffix."""


def write_parquet(inventory: Inventory, path: Path) -> None:
    """Write the rows as one Parquet table; times are ISO 8601 text.

    Raises
    ------
    RecordError
        If pyarrow is not installed, or the file cannot be written.
    """
    try:
        import pyarrow as pa  # noqa: PLC0415 - half a second, and scrapbook alone brings it
        from pyarrow import parquet  # noqa: PLC0415
    except ImportError as error:
        raise RecordError("Parquet needs pyarrow: pip install pyarrow") from error
    kinds: dict[str, Any] = {
        **dict.fromkeys(("traffic", "mirror", "instances", "requests_per_day"), pa.int64()),
        "cost_per_month": pa.float64(),
    }
    schema = pa.schema([(name, kinds.get(name, pa.string())) for name in COLUMNS])
    columns = {name: [getattr(row, name) for row in inventory.rows] for name in COLUMNS}
    try:
        parquet.write_table(pa.table(columns, schema=schema), path)
    except OSError as error:
        raise RecordError(f"cannot write {path}: {error}") from error


def _separated(inventory: Inventory, separator: str) -> str:
    """Return rows with a separator; text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in astuple(row)] for row in inventory.rows)
    return text.getvalue()


def _plain(value: object) -> object:
    """Return a cell's value. Source: OWASP, "CSV Injection"; tags and names are other people's text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t")) else value
