# ruff: noqa: S608 - SQL is made of our own words, known columns, and constants quoted by kql_scalars
"""KQL by translation: each tabular operator becomes a SELECT around the one before.

SQLite then does the work in a thread, with its index on resource and time. Types are known statically, as
Log Analytics' answer names them.
"""

import re
import sqlite3
from collections.abc import Callable

from opslib.sandbox.telemetry.kql.parser import Call, Column, KqlQuery, Literal, Node, SemanticError, Step, parse
from opslib.sandbox.telemetry.kql.scalars import Compiled, Expression, compile_scalar, quoted

__all__ = ["Compiled", "SemanticError", "add_functions", "compile_query", "percentile"]

_MAX_TAKE = 100_000


def compile_query(text: str, tables: dict[str, Compiled]) -> Compiled:
    """Translate a query over some tables.

    Raises
    ------
    SemanticError
        If it names what does not exist, or uses what is not built.
    """
    query: KqlQuery = parse(text)
    if query.table not in tables:
        raise SemanticError(f"'where' operator: Failed to resolve table or column expression named '{query.table}'")
    relation = tables[query.table]
    for step in query.steps:
        relation = _STEPS[step.word](step, relation)
    return relation


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection what SQL lacks."""
    connection.create_function("kql_has", 2, _has, deterministic=True)
    connection.create_aggregate("kql_percentile", 2, _Percentile)  # type: ignore[arg-type]


def percentile(values: list[float], percent: float) -> float | None:
    """Return the nearest-rank percentile, as Kusto does for samples of moderate size.

    Examples
    --------
    >>> percentile([3.0, 1.0, 2.0], 50)
    2.0
    """
    if not values:
        return None
    ordered = sorted(values)
    rank = max(1, -int(-(percent / 100 * len(ordered)) // 1))
    return ordered[min(rank, len(ordered)) - 1]


class _Percentile:
    """Aggregate for SQLite."""

    def __init__(self) -> None:
        self._values: list[float] = []
        self._percent = 50.0

    def step(self, value: float | None, percent: float) -> None:
        """Take one value; nulls do not count."""
        self._percent = percent
        if value is not None:
            self._values.append(value)

    def finalize(self) -> float | None:
        """Return the percentile."""
        return percentile(self._values, self._percent)


def _has(text: str | None, term: str) -> int:
    return int(
        re.search(rf"(?<![A-Za-z0-9]){re.escape(term)}(?![A-Za-z0-9])", text or "", re.IGNORECASE) is not None
    )


# tabular operators


def _where(step: Step, before: Compiled) -> Compiled:
    condition = compile_scalar(step.items[0][1], before)
    return Compiled(f"SELECT * FROM ({before.sql}) WHERE {condition.sql}", before.columns)


def _extend(step: Step, before: Compiled) -> Compiled:
    columns = {name: Expression(quoted(name), kind) for name, kind in before.columns}
    for index, (name, node) in enumerate(step.items):
        columns[name or _default_name(node, index)] = compile_scalar(node, before)
    return _select(columns, before)


def _project(step: Step, before: Compiled) -> Compiled:
    columns = {
        name or _default_name(node, index): compile_scalar(node, before)
        for index, (name, node) in enumerate(step.items)
    }
    return _select(columns, before)


def _distinct(step: Step, before: Compiled) -> Compiled:
    projected = _project(step, before)
    return Compiled(projected.sql.replace("SELECT", "SELECT DISTINCT", 1), projected.columns)


def _summarize(step: Step, before: Compiled) -> Compiled:
    keys = {name or _default_name(node, i): compile_scalar(node, before) for i, (name, node) in enumerate(step.by)}
    values: dict[str, Expression] = {}
    for index, (name, node) in enumerate(step.items):
        for default, part in _spread(node):
            values[name if name and default is None else default or _default_name(part, index)] = compile_scalar(
                part, before, aggregates=True
            )
    grouping = f" GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}" if keys else ""
    relation = _select(keys | values, before)
    return Compiled(relation.sql + grouping, relation.columns)


def _order(step: Step, before: Compiled) -> Compiled:
    terms = [
        f"{compile_scalar(node, before).sql} {'DESC' if descending else 'ASC'}"
        for (_, node), descending in zip(step.by, step.descending, strict=True)
    ]
    return Compiled(f"SELECT * FROM ({before.sql}) ORDER BY {', '.join(terms)}", before.columns)


def _top(step: Step, before: Compiled) -> Compiled:
    return _take(step, _order(step, before))


def _take(step: Step, before: Compiled) -> Compiled:
    count = step.items[0][1]
    if not isinstance(count, Literal) or count.type != "long":
        raise SemanticError("'take' and 'top' need a whole number of rows")
    return Compiled(f"SELECT * FROM ({before.sql}) LIMIT {min(int(count.value), _MAX_TAKE)}", before.columns)


def _count(_step: Step, before: Compiled) -> Compiled:
    return Compiled(f'SELECT count(*) AS "Count" FROM ({before.sql})', (("Count", "long"),))


_STEPS: dict[str, Callable[[Step, Compiled], Compiled]] = {
    "where": _where,
    "extend": _extend,
    "project": _project,
    "distinct": _distinct,
    "summarize": _summarize,
    "order": _order,
    "top": _top,
    "take": _take,
    "count": _count,
}


def _select(columns: dict[str, Expression], before: Compiled) -> Compiled:
    if not columns:
        raise SemanticError("an operator without columns")
    parts = ", ".join(f"{expression.sql} AS {quoted(name)}" for name, expression in columns.items())
    return Compiled(f"SELECT {parts} FROM ({before.sql})", tuple((n, e.type) for n, e in columns.items()))


def _spread(node: Node) -> list[tuple[str | None, Node]]:
    """Return what one aggregate makes: `percentiles` makes a column for each percentage."""
    if isinstance(node, Call) and node.function == "percentiles":
        value, *percents = node.arguments
        return [
            (f"percentile_{_default_name(value, 0)}_{_number(percent)}", Call("percentile", (value, percent)))
            for percent in percents
        ]
    return [(None, node)]


def _default_name(node: Node, index: int) -> str:
    """Name an unnamed column as Kusto does: `count_`, `avg_X`, `percentile_X_95`."""
    if isinstance(node, Column):
        return node.name
    if isinstance(node, Call):
        if node.function == "bin":
            return _default_name(node.arguments[0], index)
        names = [_default_name(one, index) for one in node.arguments if isinstance(one, Column)]
        if node.function == "percentile" and len(node.arguments) == 2:
            names.append(_number(node.arguments[1]))
        if node.function.isidentifier():
            return "_".join([node.function, *names]) if names else f"{node.function}_"
    return f"Column{index + 1}"


def _number(node: Node) -> str:
    return f"{node.value}" if isinstance(node, Literal) else "p"
