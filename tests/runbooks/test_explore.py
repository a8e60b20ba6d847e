"""The notebook to look around: every cell has something to show, and nothing is changed."""

import nbformat
import pytest
from IPython.core.interactiveshell import InteractiveShell

from opslib.displayed import view
from opslib.errors import NotFound
from opslib.lab.explore import explore
from opslib.runner.notebooks import SHIPPED


def test_every_cell_of_explore_shows_what_is_there(world, monkeypatch):
    """Endpoints, one endpoint's status and cost, runs, the form and the live view; the cells are thin."""
    monkeypatch.setenv("OPSLIB_RUNS", str(world.runs))
    before = world.read()
    shell = InteractiveShell()
    values = {}
    for cell in nbformat.read(SHIPPED / "explore.ipynb", as_version=4).cells:
        if cell.cell_type == "code":
            assert not cell.outputs
            assert len(cell.source.splitlines()) <= 4
            source = cell.source.replace('endpoint: str = ""', f"endpoint: str = {world.name!r}")
            values[cell.metadata.tags[0]] = shell.run_cell(source)
    for done in values.values():
        done.raise_error()
    values["live"].result.stop()
    shown = {name: view(done.result).text for name, done in values.items() if name not in {"form", "live"}}
    assert world.name in shown["endpoints"]
    assert "blue" in shown["status"]
    assert "per month" in shown["cost"]
    assert "The archive has no runs." in shown["runs"]
    assert values["form"].result.filled_in.draft.shown["endpoint"].text == world.name
    assert "no run is running" in str(values["live"].result.state)
    assert world.read() == before


def test_an_endpoint_that_does_not_exist_is_refused_with_those_that_do(world):
    """A typing error is found before anything else is read."""
    with pytest.raises(NotFound, match=rf"no endpoint 'frod'; the workspace has: .*{world.name}"):
        explore("sandbox", "frod")
