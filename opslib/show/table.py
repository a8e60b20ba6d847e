"""A table as HTML for notebooks and as text for terminals and logs."""

import re
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import zip_longest
from typing import Literal

Tone = Literal["", "good", "warning", "bad"]

COLOURS: dict[Tone, str] = {
    "good": "color:var(--jp-success-color1,#2e7d32)",
    "warning": "color:var(--jp-warn-color1,#b26a00)",
    "bad": "color:var(--jp-error-color1,#c62828)",
}
"""JupyterLab's own colours, which follow its theme; elsewhere colours that read on white and on black."""


@dataclass(frozen=True)
class Cell:
    """Text with a colour, a tooltip, or the look of a command. The text alone must be enough to understand it."""

    text: str
    tone: Tone = ""
    tooltip: str = ""
    code: bool = False

    @property
    def html(self) -> str:
        """The cell's content."""
        inner = _breakable(self.text)
        if self.code and self.text:
            inner = f'<code style="white-space:pre-wrap">{inner}</code>'
        title = f' title="{escape(self.tooltip)}"' if self.tooltip else ""
        style = f' style="{COLOURS[self.tone]}"' if self.tone else ""
        return f"<span{title}{style}>{inner}</span>" if title or style else inner


Row = Sequence[str | Cell]


@dataclass(frozen=True)
class Table:
    """A titled table.

    Attributes
    ----------
    title
        Heading.
    columns
        Headings of the columns.
    rows
        One cell per column; without rows the title and the note are all that is shown.
    note
        Text below the table.
    right
        Columns whose numbers are aligned right.
    """

    title: str
    columns: Sequence[str]
    rows: Sequence[Row]
    note: str = ""
    right: Collection[str] = ()

    @property
    def html(self) -> str:
        """The table with inline styles; colours and fonts are the page's."""
        # a heading without text is a plain cell: a screen reader would announce an empty heading
        head = "".join(
            f'<th scope="col" {self._style(c)}>{escape(c)}</th>' if c else "<td></td>" for c in self.columns
        )
        body = "".join(f"<tr>{self._row(row)}</tr>" for row in self.rows)
        caption = f'<caption style="text-align:left;color:inherit"><b>{escape(self.title)}</b></caption>'
        note = f'<p style="max-width:60em;white-space:pre-line">{escape(self.note)}</p>' if self.note else ""
        if not self.rows:
            return f"<p><b>{escape(self.title)}</b></p>{note}"
        return f"<table>{caption}<thead><tr>{head}</tr></thead><tbody>{body}</tbody></table>{note}"

    @property
    def text(self) -> str:
        """The table in columns of a fixed width."""
        rows = [tuple(self.columns), *(line for row in self.rows for line in _lines(row))]
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                value.rjust(width) if column in self.right else value.ljust(width)
                for column, value, width in zip(self.columns, row, widths, strict=True)
            )
            for row in rows
        ]
        shown = (line.rstrip() for line in lines) if self.rows else ()
        return "\n".join([self.title, *shown, *([self.note] if self.note else [])])

    def _row(self, row: Row) -> str:
        cells = zip(self.columns, row, strict=True)
        return "".join(f"<td {self._style(column)}>{_html(value)}</td>" for column, value in cells)

    def _style(self, column: str) -> str:
        align = "right;font-variant-numeric:tabular-nums;white-space:nowrap" if column in self.right else "left"
        wrap = "" if column in self.right else ";white-space:pre-wrap"
        return f'style="vertical-align:top;text-align:{align}{wrap}"'


@dataclass(frozen=True)
class Tables:
    """Several tables below each other; one without rows and note is left out."""

    tables: tuple[Table, ...]

    @property
    def text(self) -> str:
        """The tables, an empty line between them."""
        return "\n\n".join(table.text for table in self.tables if table.rows or table.note)

    @property
    def html(self) -> str:
        """The tables."""
        return "".join(table.html for table in self.tables if table.rows or table.note)


def _lines(row: Row) -> Iterator[tuple[str, ...]]:
    """Split a row whose cells hold several lines."""
    texts = (value if isinstance(value, str) else value.text for value in row)
    return zip_longest(*(text.splitlines() or [""] for text in texts), fillvalue="")


def _html(value: str | Cell) -> str:
    return _breakable(value) if isinstance(value, str) else value.html


LONG_WORD = re.compile(r"\S{30,}")
"""A word such as a resource id, which would widen its column until the next ones are outside the page."""


def _breakable(text: str) -> str:
    """Escape a text; its long words may break anywhere, and still be copied whole."""
    pieces, end = [], 0
    for word in LONG_WORD.finditer(text):
        pieces += [escape(text[end : word.start()])]
        pieces += [f'<span style="overflow-wrap:anywhere">{escape(word.group())}</span>']
        end = word.end()
    return "".join([*pieces, escape(text[end:])])
