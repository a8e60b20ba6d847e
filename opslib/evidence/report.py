"""The report of a run (``report.html``)."""

from pathlib import Path

from opslib.evidence.record import Record

NAME = "report.html"


def write_report(folder: Path, record: Record) -> None:
    """Write the report."""
