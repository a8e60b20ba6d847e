"""KQL by translation: each tabular operator becomes a SELECT around the one before.

SQLite then does the work in a thread, with its index on resource and time. Types are known statically, as
Log Analytics' answer names them.
"""

import re
import sqlite3
from collections.abc import Callable
from dataclasses import dataclass

from .clock import now_us
from .kql_parser import Call, Column, Literal, Node, Query, SemanticError, Step, parse

__all__ = ["Compiled", "SemanticError", "add_functions", "compile_query", "percentile"]

_NUMBERS = ("int", "long", "real", "timespan")
_MAX_TAKE = 100_000


@dataclass(frozen=True)
class Expression:
    """SQL text and its KQL type."""

    sql: str
    type: str


@dataclass(frozen=True)
class Compiled:
    """A query as SQL, and the columns that it answers with."""

    sql: str
    columns: tuple[tuple[str, str], ...]


def compile_query(text: str, tables: dict[str, Compiled]) -> Compiled:
    """Translate a query over some tables.

    Raises
    ------
    SemanticError
        If it names what does not exist, or uses what is not built.
    """
    query: Query = parse(text)
    if query.table not in tables:
        raise SemanticError(f"'where' operator: Failed to resolve table or column expression named '{query.table}'")
    relation = tables[query.table]
    for step in query.steps:
        relation = _STEPS[step.word](step, relation)
    return relation


def add_functions(connection: sqlite3.Connection) -> None:
    """Give a connection what SQL lacks."""
    connection.create_function("kql_has", 2, _has, deterministic=True)
    connection.create_aggregate("kql_percentile", 2, _Percentile)


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
    condition = _compile(step.items[0][1], before)
    return Compiled(f"SELECT * FROM ({before.sql}) WHERE {condition.sql}", before.columns)


def _extend(step: Step, before: Compiled) -> Compiled:
    columns = {name: Expression(_quoted(name), kind) for name, kind in before.columns}
    for index, (name, node) in enumerate(step.items):
        columns[name or _default_name(node, index)] = _compile(node, before)
    return _select(columns, before)


def _project(step: Step, before: Compiled) -> Compiled:
    columns = {
        name or _default_name(node, index): _compile(node, before) for index, (name, node) in enumerate(step.items)
    }
    return _select(columns, before)


def _distinct(step: Step, before: Compiled) -> Compiled:
    projected = _project(step, before)
    return Compiled(projected.sql.replace("SELECT", "SELECT DISTINCT", 1), projected.columns)


def _summarize(step: Step, before: Compiled) -> Compiled:
    keys = {name or _default_name(node, i): _compile(node, before) for i, (name, node) in enumerate(step.by)}
    values: dict[str, Expression] = {}
    for index, (name, node) in enumerate(step.items):
        for default, part in _spread(node):
            values[name if name and default is None else default or _default_name(part, index)] = _compile(
                part, before, aggregates=True
            )
    grouping = f" GROUP BY {', '.join(str(i + 1) for i in range(len(keys)))}" if keys else ""
    relation = _select(keys | values, before)
    return Compiled(relation.sql + grouping, relation.columns)


def _order(step: Step, before: Compiled) -> Compiled:
    terms = [
        f"{_compile(node, before).sql} {'DESC' if descending else 'ASC'}"
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
    parts = ", ".join(f"{expression.sql} AS {_quoted(name)}" for name, expression in columns.items())
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


# scalars


def _compile(node: Node, relation: Compiled, *, aggregates: bool = False) -> Expression:
    if isinstance(node, Literal):
        return Expression(_constant(node), node.type)
    if isinstance(node, Column):
        kinds = dict(relation.columns)
        if node.name not in kinds:
            raise SemanticError(f"Failed to resolve scalar expression named '{node.name}'")
        return Expression(_quoted(node.name), kinds[node.name])
    if node.function in AGGREGATES:
        if not aggregates:
            raise SemanticError(f"aggregate '{node.function}' is only possible in summarize")
        return AGGREGATES[node.function](*(_compile(one, relation) for one in node.arguments))
    if node.function not in SCALARS:
        raise SemanticError(f"Unknown function: '{node.function}' (not supported by the sandbox)")
    arguments = [_compile(one, relation, aggregates=aggregates) for one in node.arguments]
    try:
        return SCALARS[node.function](*arguments)
    except TypeError as error:
        raise SemanticError(f"function '{node.function}' does not take {len(arguments)} arguments") from error


def _constant(literal: Literal) -> str:
    if isinstance(literal.value, str):
        return "'" + literal.value.replace("'", "''").replace("\x00", "") + "'"
    return repr(literal.value)


def _quoted(name: str) -> str:
    return '"' + name.replace('"', '""') + '"'


def _compare(sign: str) -> Callable[[Expression, Expression], Expression]:
    def build(left: Expression, right: Expression) -> Expression:
        words = {left.type, right.type}
        if "string" in words and words != {"string"}:
            raise SemanticError(
                f"Cannot compare values of types {left.type} and {right.type}. Try adding explicit casts"
            )
        return Expression(f"({left.sql} {sign} {right.sql})", "bool")

    return build


def _folded(template: str) -> Callable[[Expression, Expression], Expression]:
    def build(left: Expression, right: Expression) -> Expression:
        return Expression(template.format(f"lower({left.sql})", f"lower({right.sql})"), "bool")

    return build


def _cased(template: str) -> Callable[[Expression, Expression], Expression]:
    return lambda left, right: Expression(template.format(left.sql, right.sql), "bool")


def _arithmetic(sign: str) -> Callable[[Expression, Expression], Expression]:
    def build(left: Expression, right: Expression) -> Expression:
        pair = (left.type, right.type)
        if "string" in pair or "bool" in pair:
            raise SemanticError(f"operator '{sign}' cannot be applied to {pair[0]} and {pair[1]}")
        if "datetime" in pair:
            kind = "timespan" if pair == ("datetime", "datetime") else "datetime"
        elif "timespan" in pair:
            kind = "timespan" if sign != "/" or pair[1] != "timespan" else "real"
        else:
            kind = "real" if "real" in pair else "long"
        exact = "1.0 * " if kind == "real" and sign == "/" else ""
        return Expression(f"({exact}{left.sql} {sign} {right.sql})", kind)

    return build


def _in(value: Expression, *options: Expression) -> Expression:
    return Expression(f"({value.sql} IN ({', '.join(option.sql for option in options)}))", "bool")


def _bin(value: Expression, step: Expression) -> Expression:
    if value.type == "real" or step.type == "real":
        return Expression(f"(floor({value.sql} / {step.sql}) * {step.sql})", "real")
    return Expression(f"({value.sql} - {value.sql} % {step.sql})", value.type)


def _ago(span: Expression) -> Expression:
    if span.type != "timespan":
        raise SemanticError("ago() needs a timespan such as 5m")
    return Expression(f"({now_us()} - {span.sql})", "datetime")


def _if(condition: Expression, yes: Expression, no: Expression) -> Expression:
    return Expression(f"(CASE WHEN {condition.sql} THEN {yes.sql} ELSE {no.sql} END)", yes.type)


def _to(kind: str, affinity: str) -> Callable[[Expression], Expression]:
    return lambda value: Expression(f"CAST({value.sql} AS {affinity})", kind)


def _tostring(value: Expression) -> Expression:
    return Expression(f"coalesce(CAST({value.sql} AS TEXT), '')", "string")


SCALARS: dict[str, Callable[..., Expression]] = {
    "and": lambda a, b: Expression(f"({a.sql} AND {b.sql})", "bool"),
    "or": lambda a, b: Expression(f"({a.sql} OR {b.sql})", "bool"),
    "not": lambda a: Expression(f"(NOT {a.sql})", "bool"),
    "==": _compare("="),
    "!=": _compare("!="),
    "<": _compare("<"),
    "<=": _compare("<="),
    ">": _compare(">"),
    ">=": _compare(">="),
    "=~": _folded("({} = {})"),
    "!~": _folded("({} != {})"),
    "in": _in,
    "between": lambda a, low, high: Expression(f"({a.sql} BETWEEN {low.sql} AND {high.sql})", "bool"),
    "has": _cased("kql_has({}, {})"),
    "contains": _folded("(instr({0}, {1}) > 0)"),
    "startswith": _folded("(substr({0}, 1, length({1})) = {1})"),
    "endswith": _folded("(substr({0}, -length({1})) = {1})"),
    "contains_cs": _cased("(instr({0}, {1}) > 0)"),
    "startswith_cs": _cased("(substr({0}, 1, length({1})) = {1})"),
    "+": _arithmetic("+"),
    "-": _arithmetic("-"),
    "*": _arithmetic("*"),
    "/": _arithmetic("/"),
    "%": _arithmetic("%"),
    "negate": lambda a: Expression(f"(-{a.sql})", a.type),
    "ago": _ago,
    "now": lambda: Expression(str(now_us()), "datetime"),
    "bin": _bin,
    "iff": _if,
    "iif": _if,
    "toint": _to("int", "INTEGER"),
    "tolong": _to("long", "INTEGER"),
    "todouble": _to("real", "REAL"),
    "toreal": _to("real", "REAL"),
    "tostring": _tostring,
    "tolower": lambda a: Expression(f"lower({a.sql})", "string"),
    "toupper": lambda a: Expression(f"upper({a.sql})", "string"),
    "strlen": lambda a: Expression(f"length({a.sql})", "long"),
    "strcat": lambda *parts: Expression("(" + " || ".join(_tostring(p).sql for p in parts) + ")", "string"),
    "round": lambda a, digits=Expression("0", "long"): Expression(f"round({a.sql}, {digits.sql})", "real"),
    "isempty": lambda a: Expression(f"(coalesce({a.sql}, '') = '')", "bool"),
    "isnotempty": lambda a: Expression(f"(coalesce({a.sql}, '') != '')", "bool"),
    "isnull": lambda a: Expression(f"({a.sql} IS NULL)", "bool"),
    "isnotnull": lambda a: Expression(f"({a.sql} IS NOT NULL)", "bool"),
}


def _countif(condition: Expression) -> Expression:
    return Expression(f"coalesce(sum(CASE WHEN {condition.sql} THEN 1 ELSE 0 END), 0)", "long")


def _total(value: Expression) -> Expression:
    if value.type not in _NUMBERS:
        raise SemanticError(f"sum() needs a number, got {value.type}")
    return Expression(f"coalesce(sum({value.sql}), 0)", value.type if value.type != "int" else "long")


AGGREGATES: dict[str, Callable[..., Expression]] = {
    "count": lambda: Expression("count(*)", "long"),
    "countif": _countif,
    "dcount": lambda a: Expression(f"count(DISTINCT {a.sql})", "long"),
    "sum": _total,
    "avg": lambda a: Expression(f"avg({a.sql})", "real"),
    "min": lambda a: Expression(f"min({a.sql})", a.type),
    "max": lambda a: Expression(f"max({a.sql})", a.type),
    "percentile": lambda a, p: Expression(f"kql_percentile({a.sql}, {p.sql})", a.type),
}
