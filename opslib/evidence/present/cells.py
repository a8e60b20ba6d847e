"""A notebook's cells and outputs as the report shows them: text as text, HTML without what could load or run."""

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache, lru_cache
from typing import Any

_CONTROL_SEQUENCES = re.compile(r"\x1b\[.*?[@-~]")
"""A terminal's colours and movements of its cursor."""

_TAGS = (
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
_ATTRIBUTES = {"alt", "class", "colspan", "href", "rowspan", "scope", "title"}
"""What is kept of HTML in the notebook: text, lists, tables, and images that are embedded."""

_MARKDOWN = ("strikethrough", "table", "url", "task_lists", "def_list")
"""The plugins with which Jupyter renders markdown."""

_IMAGES = ("image/png", "image/jpeg")

_SHOWN = ("text/html", "text/markdown", "image/svg+xml", "text/latex", *_IMAGES, "text/plain")
"""The forms of an output, the first of them that it has is shown."""


@dataclass(frozen=True)
class Shown:
    """One output, or one cell of text.

    Attributes
    ----------
    kind
        "html", "text", "stderr", "error", or the media type of an image.
    content
        Clean HTML, plain text, or the image in base64.
    caption
        The image's description.
    """

    kind: str
    content: str
    caption: str = ""


@dataclass(frozen=True)
class Cell:
    """A cell: the name and source of its code, empty where it has none, and what is shown of it."""

    name: str
    source: str
    shown: tuple[Shown, ...]


def read_cells(notebook: Mapping[str, Any]) -> Iterator[Cell]:
    """Yield the cells of a notebook in format 4."""
    for cell in notebook["cells"]:
        source = _text(cell["source"])
        if cell["cell_type"] == "code":
            name = next(iter(cell["metadata"].get("tags", ())), "cell")
            yield Cell(str(name), source, tuple(_outputs(cell["outputs"])))
        elif cell["cell_type"] == "markdown":
            yield Cell("", "", (Shown("html", _rendered(source)),))
        else:
            yield Cell("", "", (Shown("text", source),))


def clean(html: str) -> str:
    """Remove scripts, styles and external resources from HTML; keep text, lists, tables and embedded images."""
    import nh3  # noqa: PLC0415 - only a report needs it

    return nh3.clean(
        html,
        tags=_TAGS,
        attributes={"*": _ATTRIBUTES, "img": _ATTRIBUTES | {"src"}},
        attribute_filter=_kept,
        url_schemes={"https", "mailto", "data"},
        link_rel=None,
    )


def _outputs(outputs: Any) -> Iterator[Shown]:
    for output in outputs:
        if output["output_type"] == "stream":
            kind = "stderr" if output["name"] == "stderr" else "text"
            yield Shown(kind, _plain(output["text"]))
        elif output["output_type"] == "error":
            yield Shown("error", "\n".join(map(_plain, output["traceback"])))
        else:
            yield from _data(output)


def _data(output: Mapping[str, Any]) -> Iterator[Shown]:
    """Yield the best form of an output that has several; none for scrapbook's values, which are for programs."""
    data = output["data"]
    kind = next((one for one in _SHOWN if one in data), "")
    if not kind:
        return
    text, plain = _text(data[kind]), _plain(data.get("text/plain", ""))
    if kind == "text/html":
        yield Shown("html", clean(text))
    elif kind == "text/markdown":
        yield Shown("html", _rendered(text))
    elif kind == "image/svg+xml":  # it could contain a script
        yield Shown("text", plain or "a drawing without a description")
    elif kind in _IMAGES:
        caption = output.get("metadata", {}).get(kind, {}).get("alt")
        yield Shown(kind, text.replace("\n", ""), caption or plain or "a plot without a description")
    else:
        yield Shown("text", _plain(text))


@lru_cache(maxsize=256)  # the prose of all runbooks
def _rendered(markdown: str) -> str:
    return clean(str(_markdown()(markdown)))


@cache
def _markdown() -> Any:
    from mistune import create_markdown  # noqa: PLC0415 - only a report needs it

    return create_markdown(escape=False, plugins=list(_MARKDOWN))


def _kept(tag: str, name: str, value: str) -> str | None:
    """Return an attribute's value; None for an image that is not embedded, and for embedded pages behind links."""
    embedded = value.strip().lower().startswith("data:")
    return value if embedded == (name == "src") and (tag == "img" or not embedded) else None


def _plain(text: Any) -> str:
    return _CONTROL_SEQUENCES.sub("", _text(text))


def _text(value: Any) -> str:
    """Return a text that the format also permits as a list of lines."""
    return value if isinstance(value, str) else "".join(value)
