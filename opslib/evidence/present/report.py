"""The report of a run (``report.html``): its summary and its notebook on one self-contained page.

Rendered by nbconvert with a template of our own: images have a text alternative, tables have headings. The page
loads nothing and runs no script, whatever the outputs contain.
"""

import logging
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.present.page import TEMPLATES, Plot, summary_html
from opslib.evidence.run.files import NOTEBOOK, REPORT
from opslib.evidence.run.record import Record, write_atomically
from opslib.import_shims import skip_iri_checks

_TAGS = frozenset(
    {
        "a",
        "abbr",
        "b",
        "blockquote",
        "br",
        "caption",
        "code",
        "dd",
        "details",
        "div",
        "dl",
        "dt",
        "em",
        "figcaption",
    }
    | {"figure", "h1", "h2", "h3", "h4", "h5", "h6", "hr", "i", "img", "li", "ol", "p", "pre", "s", "small", "span"}
    | {"strong", "sub", "summary", "sup", "table", "tbody", "td", "tfoot", "th", "thead", "tr", "u", "ul"}
)
_ATTRIBUTES = frozenset({"alt", "class", "colspan", "href", "rowspan", "scope", "title"})
"""What is kept of HTML in the notebook: text, lists, tables, and images that are embedded."""


def write_report(folder: Path, record: Record) -> None:
    """Write the report of a run; if the notebook cannot be read, with the summary alone.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    notebook = _read(folder / NOTEBOOK)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    about = record.endpoint or record.parameters.get("name") or "all endpoints"
    title = f"{record.runbook} of {about}: {record.outcome or 'not ended'}"
    summary = summary_html(record, folder, tuple(_take_plots(notebook)))
    notebook.metadata["opslib"] = {"title": title, "summary": summary}
    try:
        page = render(notebook)
    except Exception as error:  # a notebook may contain anything, and must not prevent the seal
        raise RecordError(f"cannot render {folder / NOTEBOOK} as HTML: {error!r}") from error
    write_atomically(folder / REPORT, page)


def render(notebook: Any) -> str:
    """Render a notebook as a self-contained page."""
    notebook.metadata["opslib"]["style"] = (TEMPLATES / "page.css").read_text(encoding="utf-8")
    body, _ = _exporter().from_notebook_node(notebook)
    return str(body)


@cache
def _exporter() -> Any:
    """Return nbconvert's exporter with the report's template, which takes half a second to compile."""
    skip_iri_checks()
    from nbconvert import HTMLExporter  # noqa: PLC0415 - importing takes a second

    make: Any = HTMLExporter
    exporter = make(template_name="report", extra_template_basedirs=[str(TEMPLATES)])
    exporter.log.setLevel(logging.ERROR)
    exporter.register_filter("clean", clean)
    return exporter


def clean(html: str) -> str:
    """Remove scripts, styles and external resources from HTML; keep text, lists, tables and embedded images."""
    import bleach  # noqa: PLC0415 - a dependency of nbconvert

    def allowed(_: str, name: str, value: str) -> bool:
        return name in _ATTRIBUTES or (name == "src" and value.startswith("data:image/"))

    return str(
        bleach.clean(html, tags=_TAGS, attributes=allowed, protocols=["https", "mailto", "data"], strip=True)
    )


def _take_plots(notebook: Any) -> Iterator[Plot]:
    """Yield the notebook's plots, and leave their descriptions in their place."""
    for cell in notebook.cells:
        for output in cell.get("outputs", ()):
            png = output.get("data", {}).pop("image/png", None)
            if png:
                caption = output.get("metadata", {}).get("image/png", {}).get("alt")
                yield Plot(png.replace("\n", ""), caption or str(output["data"].get("text/plain", "a plot")))


def _is_shown(output: Any) -> bool:
    """Return whether an output is visible; scrapbook's values are data for programs."""
    return "data" not in output or any(kind.startswith(("text/", "image/")) for kind in output.data)


def _read(path: Path) -> Any:
    skip_iri_checks()
    import nbformat  # noqa: PLC0415 - importing takes a while

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, KeyError, RecordError):
        return nbformat.v4.new_notebook()
