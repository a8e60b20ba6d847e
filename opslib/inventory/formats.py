"""The inventory for other tools: JSON with Azure's own bodies, CSV, TSV and Parquet."""

import csv
import io
import json
from collections.abc import Callable, Mapping
from dataclasses import asdict, astuple
from pathlib import Path

from opslib.evidence.archive.parquet import write_parquet
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


def export_parquet(inventory: Inventory, path: Path) -> None:
    """Write the rows as one Parquet table; times are ISO 8601 text."""
    numbers = dict.fromkeys(("traffic", "mirror", "instances", "requests_per_day"), int)
    write_parquet(inventory.rows, COLUMNS, {**numbers, "cost_per_month": float}, path)


def _separated(inventory: Inventory, separator: str) -> str:
    """Return rows with a separator; text that a spreadsheet would run as a formula is quoted by an apostrophe."""
    text = io.StringIO()
    writer = csv.writer(text, delimiter=separator, lineterminator="\n")
    writer.writerow(COLUMNS)
    writer.writerows([_plain(value) for value in astuple(row)] for row in inventory.rows)
    return text.getvalue()


def _plain(value: object) -> object:
    """Return a cell's value. Source: OWASP, "CSV Injection"; tags and names are other people's text."""
    return f"'{value}" if isinstance(value, str) and value.startswith(("=", "+", "-", "@", "\t", "\r")) else value
