"""The inventory as JSON, CSV, TSV, Parquet, table and plot."""

import csv
import json
from dataclasses import replace

import pytest
from estate_fixture import Estate
from pyarrow import parquet

from opslib.cli.main import main
from opslib.inventory.formats import as_csv
from opslib.inventory.rows import COLUMNS
from opslib.model import EstateScope
from opslib.runbooks.inventory import read_inventory
from opslib.show.inventory import inventory_table, plot_inventory


@pytest.fixture
def inventory(estate: Estate):
    return read_inventory(estate.workspace, EstateScope(groups=("team-0",)), "", lambda _: None)


def test_every_form_has_the_same_rows(estate: Estate, tmp_path, capsys):
    """The suffix names the form; JSON has Azure's own bodies as well."""
    for suffix in ("json", "csv", "tsv", "parquet"):
        assert main(["inventory", "--group", "team-0", "--output", str(tmp_path / f"i.{suffix}")]) == 0
    content = json.loads((tmp_path / "i.json").read_text())
    table = parquet.read_table(tmp_path / "i.parquet")
    rows = list(csv.DictReader((tmp_path / "i.csv").read_text().splitlines()))
    assert table.to_pylist() == content["rows"]
    assert [row["id"] for row in rows] == [row["id"] for row in content["rows"]]
    assert tuple(table.schema.names) == COLUMNS
    assert (tmp_path / "i.tsv").read_text().count("\n") == len(rows) + 1
    assert len(content["resources"]) == 6
    assert content["resources"][0]["endpoint"]["properties"]["traffic"] == {"blue": 100}
    assert "12 deployments of 6 endpoints in 2 workspaces" in capsys.readouterr().err


def test_the_command_reports_what_it_could_not_read(estate: Estate, capsys):
    """Exit code 4, and the reason; Parquet is not printed."""
    assert main(["inventory", "--group", "team-1"]) == 4
    printed = capsys.readouterr()
    assert "prices of" in printed.err
    assert "endpoint-0001" in printed.out
    assert main(["inventory", "--format", "parquet"]) == 2
    assert "--output FILE.parquet" in capsys.readouterr().err


def test_a_table_that_is_cut_shows_waste_first(inventory):
    """Of more rows than are shown, those billed without use come first, and the note counts them."""
    table = inventory_table(inventory, 3)
    assert [str(row[-1].text)[:4] for row in table.rows] == ["idle"] * 3
    assert "3 of 12 rows" in table.note
    assert "All cost" in table.note


def test_the_plot_describes_itself(inventory):
    """A picture, and its caption with the numbers; without prices it draws instances."""
    assert plot_inventory(inventory).png.startswith(b"\x89PNG")
    unpriced = replace(inventory, rows=tuple(replace(row, cost_per_month=None) for row in inventory.rows))
    assert "Azure Resource Graph" in plot_inventory(unpriced).caption


def test_text_of_others_is_no_formula(inventory):
    """A tag that a spreadsheet would run is quoted in CSV."""
    row = replace(inventory.rows[0], owner="=cmd|' /C calc'!A0")
    assert "'=cmd|" in as_csv(replace(inventory, rows=(row,)))
