"""The report of a run (``report.html``): its story and its notebook on one page that needs nothing else.

Rendered by nbconvert with a template of our own: pictures carry their caption as text, tables their headings;
nothing is loaded from anywhere and no script runs, whatever a model's answer held.
"""

import logging
from collections.abc import Mapping
from html import escape
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.present.summary import summary_rows
from opslib.evidence.run.files import NOTEBOOK, REPORT
from opslib.evidence.run.record import Record, write_atomically
from opslib.import_shims import skip_iri_checks
from opslib.model.traffic import describe_traffic

TEMPLATES = Path(__file__).parent / "templates"

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
"""What is kept of HTML that came from the notebook: words, lists, tables. A picture only if it is there itself."""


def write_report(folder: Path, record: Record) -> None:
    """Write the report of a run; one whose notebook cannot be read gets its story alone.

    Raises
    ------
    RecordError
        If it cannot be written.
    """
    notebook = _read(folder / NOTEBOOK)
    for cell in notebook.cells:
        if cell.cell_type == "code":
            cell.outputs = [output for output in cell.outputs if _is_shown(output)]
    notebook.metadata["opslib"] = {
        "title": f"{record.runbook} of {record.endpoint}",
        "summary": summary_html(record),
    }
    try:
        page = render(notebook)
    except Exception as error:  # a notebook may hold anything; what it holds must not keep the run from its seal
        raise RecordError(f"{folder / NOTEBOOK} cannot be shown as a page: {error!r}") from error
    write_atomically(folder / REPORT, page)


def render(notebook: Any) -> str:
    """Render a notebook as a page of its own."""
    skip_iri_checks()
    from nbconvert import HTMLExporter  # noqa: PLC0415 - takes a second, and only the runner renders

    make: Any = HTMLExporter
    exporter = make(template_name="report", extra_template_basedirs=[str(TEMPLATES)])
    exporter.log.setLevel(logging.ERROR)
    exporter.register_filter("clean", clean)
    body, _ = exporter.from_notebook_node(notebook)
    return str(body)


def clean(html: str) -> str:
    """Keep what a person reads of a piece of HTML; drop what runs, or is fetched from elsewhere."""
    import bleach  # noqa: PLC0415 - nbconvert's own

    def allowed(_: str, name: str, value: str) -> bool:
        return name in _ATTRIBUTES or (name == "src" and value.startswith("data:image/"))

    return str(
        bleach.clean(html, tags=_TAGS, attributes=allowed, protocols=["https", "mailto", "data"], strip=True)
    )


def summary_html(record: Record) -> str:
    """The story of a run as a heading and a table."""
    rows = "".join(
        f'<tr><th scope="row">{escape(name)}</th><td>{escape(value)}</td></tr>'
        for name, value in summary_rows(record)
        if value
    )
    gates = "".join(
        f"<tr><td>{escape(str(g.get('result', '')))}</td><td>{escape(_gate(g))}</td>"
        f"<td>{escape(str(g.get('evidence', '')))}</td></tr>"
        for g in record.gates
    )
    head = "".join(f'<th scope="col">{name}</th>' for name in ("result", "gate", "evidence"))
    table = f"<table><caption>Gates</caption><thead><tr>{head}</tr></thead><tbody>{gates}</tbody></table>"
    mark = "✓" if record.outcome and record.outcome.good else "✗"
    title = f"<h1>{mark} {escape(record.runbook)} of {escape(record.endpoint)}: {escape(str(record.outcome))}</h1>"
    story = f"<table><caption>{escape(record.run_id)}</caption><tbody>{rows}</tbody></table>"
    return f"{title}\n{story}\n{table if gates else ''}"


def _gate(gate: Mapping[str, Any]) -> str:
    """What had to hold, and at which traffic."""
    stage = gate.get("stage")
    at = f" at {describe_traffic(stage)}" if stage else ""
    return f"{gate.get('gate', '')}{at}"


def _is_shown(output: Any) -> bool:
    """Whether a person would see an output; scrapbook's values are for programs."""
    return "data" not in output or any(kind.startswith(("text/", "image/")) for kind in output.data)


def _read(path: Path) -> Any:
    skip_iri_checks()
    import nbformat  # noqa: PLC0415 - takes a while

    try:
        return nbformat.read(path, as_version=4)
    except (OSError, ValueError, AttributeError, KeyError, RecordError):
        return nbformat.v4.new_notebook()
