"""Which module shows a value."""

from importlib import import_module
from pkgutil import iter_modules

import opslib.show
from opslib.displayed import view
from opslib.show.registered import MODULES


def test_every_view_is_found_by_the_module_of_its_class():
    """A view that is registered and not named would never be imported."""
    for module in iter_modules(opslib.show.__path__, "opslib.show."):
        import_module(module.name)
    registered = {
        kind.__module__: show.__module__
        for kind, show in view.registry.items()
        if show.__module__.startswith("opslib.show.")
    }
    assert registered == MODULES


def test_a_value_without_a_view_shows_its_repr():
    assert view(42).text == "42"
