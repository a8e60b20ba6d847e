"""Values in a notebook's output that scrapbook reads, in its stored form of version 1.

scrapbook itself is not imported: writing a value takes it two seconds of imports, in every run.
"""

import sys
from typing import Any

from opslib.evidence.run.record import Record

VERSION = 1


def glue(name: str, value: Any) -> None:
    """Store a value in the cell's output, invisibly; `scrapbook.read_notebook(path).scraps[name].data` reads it."""
    from IPython.display import display  # noqa: PLC0415 - only a notebook has outputs

    encoder = "text" if isinstance(value, str) else "json"
    scrap = {"name": name, "data": value, "encoder": encoder, "version": VERSION}
    shown = {"scrapbook": {"name": name, "data": True, "display": False}}
    publish: Any = display
    publish({f"application/scrapbook.scrap.{encoder}+json": scrap}, metadata=shown, raw=True)


def glue_record(record: Record) -> None:
    """Store a run's outcome and results in the notebook; outside IPython, nothing."""
    if "IPython" not in sys.modules:
        return
    values = {"run_id": record.run_id, "outcome": str(record.outcome), "reason": record.reason, **record.results}
    for name, value in values.items():
        if value is not None:
            glue(name, value)
