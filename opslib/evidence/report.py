"""The report of a run (``report.html``)."""

from pathlib import Path

from opslib.evidence.record import Record


def write_report(folder: Path, record: Record) -> None:
    """Write the report."""
