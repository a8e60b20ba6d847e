"""Values that display themselves: a table at the end of a notebook's cell, the same as text in `print`.

A value does not know what it looks like. `opslib.show.registered` names the modules that register that with
`view`, so that values stay below them.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import singledispatch
from html import escape
from importlib import import_module
from typing import Any, Protocol


class View(Protocol):
    """What a person sees of a value."""

    @property
    def text(self) -> str:
        """Lines for a terminal."""

    @property
    def html(self) -> str:
        """HTML that needs no script and no style sheet, and takes its colours from the page."""


@dataclass(frozen=True)
class _Repr:
    """The view of a value for which none is registered."""

    value: object

    @property
    def text(self) -> str:
        return repr(self.value)

    @property
    def html(self) -> str:
        return f"<pre>{escape(self.text)}</pre>"


_modules: dict[str, str] = {}
"""The module that registers a class's view, by the class's own module."""


@singledispatch
def view(value: object) -> View:
    """Return what a person sees of a value; its `repr` where no view is registered for its class."""
    modules = [_modules[one.__module__] for one in type(value).__mro__ if one.__module__ in _modules]
    known = len(view.registry)
    for module in modules:
        import_module(module)
    return view(value) if len(view.registry) > known else _Repr(value)


def register_modules(modules: Mapping[str, str]) -> None:
    """Have a view's module imported when the first value of a class is shown.

    Parameters
    ----------
    modules
        The module that registers the views, by the module of the classes.
    """
    _modules.update(modules)


class Displayed:
    """A value with a view. Its `repr` stays as it is, for messages and debuggers."""

    __slots__ = ()

    def _repr_html_(self) -> str:
        return view(self).html

    def _repr_mimebundle_(self, **_: Any) -> dict[str, str]:
        shown = view(self)
        return {"text/html": shown.html, "text/plain": shown.text}

    def _repr_pretty_(self, printer: Any, cycle: bool) -> None:
        """Print the text where IPython would print a tuple or a dataclass in a way of its own."""
        del cycle
        printer.text(view(self).text)

    def __str__(self) -> str:
        return view(self).text
