"""A query of the inventory: which endpoints, by the columns of their rows and by their tags. Pure."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from typing import Any

from opslib.errors import ParameterError
from opslib.inventory.rows import COLUMNS, Inventory, InventoryRow
from opslib.model import endpoint_id_of

Patterns = Mapping[str, Sequence[str]]
"""Patterns by column or tag; one of them must fit. `*` and `?` as in a shell, any case."""


@dataclass(frozen=True)
class InventoryQuery:
    """Conditions on endpoints; empty fields are no condition.

    Attributes
    ----------
    match
        Patterns by column. A row of the endpoint must fit every column.
    tags
        Patterns by the name of an endpoint's tag, which must be there.
    exclude
        Patterns by column. An endpoint with a row that fits every column is left out.
    """

    match: Patterns = field(default_factory=dict)
    tags: Patterns = field(default_factory=dict)
    exclude: Patterns = field(default_factory=dict)

    def __post_init__(self) -> None:
        unknown = sorted((self.match.keys() | self.exclude.keys()) - set(COLUMNS))
        if unknown:
            raise ParameterError(
                f"{', '.join(unknown)}: no column of the inventory; expected one of {', '.join(COLUMNS)}"
            )


def find_endpoints(inventory: Inventory, query: InventoryQuery) -> Iterator[InventoryRow]:
    """Yield a row of each endpoint that a query selects, in the order of the inventory."""
    rows: dict[str, list[InventoryRow]] = {}
    for row in inventory.rows:
        rows.setdefault(endpoint_id_of(row.id), []).append(row)
    tags = {one.id.lower(): one.tags for one in inventory.endpoints}
    for endpoint, found in rows.items():
        if query.exclude and any(_fits(row, query.exclude) for row in found):
            continue
        fitting = next((row for row in found if _fits(row, query.match)), None)
        if fitting is not None and _tagged(tags.get(endpoint, {}), query.tags):
            yield fitting


def _fits(row: InventoryRow, patterns: Patterns) -> bool:
    return all(_any_fits(getattr(row, column), allowed) for column, allowed in patterns.items())


def _tagged(tags: Mapping[str, str], patterns: Patterns) -> bool:
    lower = {name.lower(): value for name, value in tags.items()}
    return all(
        name.lower() in lower and _any_fits(lower[name.lower()], allowed) for name, allowed in patterns.items()
    )


def _any_fits(value: Any, patterns: Sequence[str]) -> bool:
    text = "" if value is None else str(value).lower()
    return any(fnmatch(text, pattern.lower()) for pattern in patterns)
