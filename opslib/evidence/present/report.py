"""The report of a run (``report.html``): its summary and its notebook on one self-contained page.

Images have a text alternative, tables have headings. The page loads nothing and runs no script, whatever the
outputs contain. nbconvert is not used: it took a second of processor time in every run.
"""

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.present.cells import read_cells
from opslib.evidence.present.page import TEMPLATES, Plot, load_template, summary_html
from opslib.evidence.run.files import NOTEBOOK, REPORT
from opslib.evidence.run.record import Record, write_atomically


def write_report(folder: Path, record: Record) -> None:
    """Write the report of a run; if the notebook cannot be read, with the summary alone.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    notebook = _read(folder / NOTEBOOK)
    about = record.endpoint or record.parameters.get("name") or "all endpoints"
    title = f"{record.runbook} of {about}: {record.outcome or 'not ended'}"
    try:
        summary = summary_html(record, folder, tuple(_take_plots(notebook)))
        page = render(notebook, title, summary)
    except Exception as error:  # a notebook may contain anything, and must not prevent the seal
        raise RecordError(f"cannot render {folder / NOTEBOOK} as HTML: {error!r}") from error
    write_atomically(folder / REPORT, page)


def render(notebook: Mapping[str, Any], title: str, summary: str) -> str:
    """Render a notebook as a self-contained page, after a summary in HTML."""
    style = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    page = load_template("report.html.j2")
    return str(page.render(title=title, style=style, summary=summary, cells=list(read_cells(notebook))))


def _take_plots(notebook: Mapping[str, Any]) -> Iterator[Plot]:
    """Yield the notebook's plots, and leave their descriptions in their place."""
    for cell in notebook["cells"]:
        for output in cell.get("outputs", ()):
            png = output.get("data", {}).pop("image/png", None)
            if png:
                caption = output.get("metadata", {}).get("image/png", {}).get("alt")
                described = caption or "".join(output["data"].get("text/plain", "a plot"))
                yield Plot("".join(png).replace("\n", ""), described)


def _read(path: Path) -> Mapping[str, Any]:
    try:
        notebook: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {"cells": []}
    return notebook if notebook.get("nbformat") == 4 else {"cells": []}
