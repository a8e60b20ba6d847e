"""A form for a runbook's parameters: typed fields, checked as a person types, that write a filled-in notebook.

The kernel cannot edit the notebook that is open in the browser: JupyterLab has a copy of its own, which it saves.
The form therefore writes a new notebook. What it shows is an ordinary output, readable without ipywidgets.
"""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cached_property
from html import escape
from pathlib import Path
from typing import Any
from urllib.parse import quote

import ipywidgets as widgets
from IPython.display import display

from opslib.displayed import Displayed, view
from opslib.errors import ParameterError
from opslib.lab.draft import CheckedDraft, as_text, check_draft, choices, runbook_class
from opslib.lab.filled import fill_cell, main_names, parameters_cell, run_command, write_filled

LABEL_WIDTH, INPUT_WIDTH = "13em", "27em"


@dataclass(frozen=True)
class FilledIn(Displayed):
    """What a form has made so far: the cell and the command, or what prevents them; the notebook once written."""

    runbook: str
    draft: CheckedDraft
    written: str = ""
    refused: str = ""

    @property
    def problems(self) -> tuple[str, ...]:
        """What is not valid, a line each."""
        return tuple(self.draft.problems.values())

    @cached_property
    def cell(self) -> str:
        """The parameters cell with the given values."""
        return fill_cell(self.runbook, parameters_cell(self.runbook), self.draft.given)

    @property
    def command(self) -> str:
        """The command that runs the runbook with these values."""
        return run_command(self.runbook, self.draft.given)


class Form:
    """A runbook's parameters as fields; a cell that ends in it shows it.

    Attributes
    ----------
    filled_in
        What was typed so far, checked.
    inputs
        The field of each parameter.
    path
        The field with the name of the notebook to write.
    write
        The button that writes it.
    """

    def __init__(self, runbook: str, given: Mapping[str, Any]) -> None:
        fields = runbook_class(runbook).model_fields
        unknown = given.keys() - fields.keys()
        if unknown:
            raise ParameterError(
                f"{', '.join(sorted(unknown))}: unknown; {runbook} takes {', '.join(sorted(fields))}"
            )
        typed = {name: as_text(value) for name, value in given.items()}
        self.filled_in = FilledIn(runbook, check_draft(runbook, typed))
        self.inputs = {
            name: _make_input(name, choices(field), typed.get(name, "")) for name, field in fields.items()
        }
        self._notes = {name: widgets.HTML() for name in fields}
        self._problems = widgets.HTML()
        self._descriptions = {name: field.description or "" for name, field in fields.items()}
        self.path = widgets.Text(
            description="notebook", value=_first_name(runbook), style=_STYLE, layout=widgets.Layout(width="42em")
        )
        self.write = widgets.Button(
            description="Write the notebook",
            button_style="primary",
            tooltip="Write a copy of the runbook with these parameters; an existing file is never changed",
        )
        self._display: Any = None
        self._renew_notes()
        for each in self.inputs.values():
            each.observe(self._check, names="value")
        self.write.on_click(self._write)

    def _ipython_display_(self) -> None:
        """Show the fields, and below them an ordinary output with the cell and the command."""
        make_display: Any = display
        make_display(
            {**self._box()._repr_mimebundle_(), "text/plain": "fields of the form, for JupyterLab"}, raw=True
        )
        self._display = make_display(self.filled_in, display_id=True)

    def _box(self) -> Any:
        main = main_names(self.filled_in.runbook)
        more = [name for name in self.inputs if name not in main]
        settings = widgets.Accordion([widgets.VBox([self._row(name) for name in more])], selected_index=None)
        settings.set_title(0, f"{len(more)} more settings: the policy's value, else the default")
        rows = [self._row(name) for name in main]
        return widgets.VBox([*rows, settings, self._problems, widgets.HBox([self.path, self.write])])

    def _row(self, name: str) -> Any:
        return widgets.HBox([self.inputs[name], self._notes[name]])

    def _check(self, _: Any) -> None:
        typed = {name: each.value for name, each in self.inputs.items()}
        self.filled_in = FilledIn(self.filled_in.runbook, check_draft(self.filled_in.runbook, typed))
        self._renew_notes()
        self._show()

    def _write(self, _: Any) -> None:
        if not self.filled_in.problems:
            filled = replace(self.filled_in, written="", refused="")
            try:
                path = write_filled(filled.runbook, filled.draft.given, Path(self.path.value))
                self.filled_in = replace(filled, written=str(path))
            except ParameterError as error:
                self.filled_in = replace(filled, refused=str(error))
        self._show()

    def _show(self) -> None:
        if self._display is not None:
            self._display.update(self.filled_in)

    def _renew_notes(self) -> None:
        draft = self.filled_in.draft
        self.write.disabled = bool(draft.problems)
        self._problems.value = _problem(draft.problems.get("", ""))
        for name, shown in draft.shown.items():
            if shown.origin != "given":
                self.inputs[name].placeholder = shown.text
            problem = draft.problems.get(name, "")
            if problem and shown.origin == "missing":
                note = f"<b>missing</b>: {escape(self._descriptions[name])}"
            elif problem:
                note = _problem(problem)
            else:
                value = "" if shown.origin == "given" else f" <code>{escape(shown.text) or '(empty)'}</code>"
                note = f"<b>{shown.origin}</b>{value}: {escape(self._descriptions[name])}"
            self._notes[name].value = f'<span style="display:block;line-height:1.3;padding:.4em 0">{note}</span>'


def form(runbook: str, **given: Any) -> Form:
    """Return a form for a runbook's parameters, with the given values filled in.

    Each field shows where its value comes from: given, the policy, or the default. An empty field gives nothing.
    The button writes a new notebook with the parameters cell filled in.

    Raises
    ------
    ParameterError
        If there is no such runbook or parameter.
    """
    return Form(runbook, given)


_STYLE = {"description_width": LABEL_WIDTH}


def _make_input(name: str, values: tuple[str, ...], typed: str) -> Any:
    """Return a list to choose from where a parameter has few values, else a field for text."""
    layout = widgets.Layout(width=INPUT_WIDTH, flex="0 0 auto")
    if values:
        options = [("", ""), *((value, value) for value in values)]
        chosen = widgets.Dropdown(description=name, options=options, style=_STYLE, layout=layout)
        chosen.value = typed if typed in values else ""
        chosen.placeholder = ""
        return chosen
    return widgets.Text(description=name, value=typed, style=_STYLE, layout=layout)


def _problem(text: str) -> str:
    return f'<span style="color:var(--jp-error-color1)"><b>not valid</b>: {escape(text)}</span>' if text else ""


def _first_name(runbook: str) -> str:
    """Return the first name of a filled-in runbook that no file here has."""
    names = (f"{runbook}-{number}.ipynb" for number in range(1, 10_000))
    return next((name for name in names if not Path(name).exists()), f"{runbook}-filled.ipynb")


@dataclass(frozen=True)
class FilledInView:
    """Text and HTML of what a form has made."""

    filled: FilledIn

    @property
    def text(self) -> str:
        """The command and the cell, or the problems."""
        filled = self.filled
        if filled.problems:
            return "\n".join([f"{len(filled.problems)} to correct:", *(f"  {one}" for one in filled.problems)])
        lines = [filled.refused, filled.written and f"written: {filled.written}"]
        return "\n".join([line for line in lines if line] + [filled.command, "", filled.cell])

    @property
    def html(self) -> str:
        """The same, with a link that JupyterLab opens in a tab of its own."""
        filled = self.filled
        if filled.problems:
            problems = "".join(f"<li>{escape(one)}</li>" for one in filled.problems)
            return f"<p>{len(filled.problems)} to correct before a notebook can be written:</p><ul>{problems}</ul>"
        written = ""
        if filled.refused:
            written = f"<p>{_problem(filled.refused)}</p>"
        elif filled.written:
            target = quote(os.path.relpath(filled.written))
            written = (
                f'<p><b>Written.</b> Open <a href="{target}">{escape(filled.written)}</a>, and run its cells.</p>'
            )
        here = escape(str(Path.cwd()))  # what the paths in the command are relative to
        return (
            f"{written}<p>Or run it with its evidence, in a terminal in {here}:</p>"
            f"<pre>{escape(filled.command)}</pre>"
            f"<details><summary>The parameters cell</summary><pre>{escape(filled.cell)}</pre></details>"
        )


@view.register
def _filled_in(filled: FilledIn) -> FilledInView:
    return FilledInView(filled)
