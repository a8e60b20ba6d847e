"""KQL's scalar expressions and aggregates as SQL, with their types known statically."""

from collections.abc import Callable
from dataclasses import dataclass

from opslib.sandbox.core.clock import now_us
from opslib.sandbox.telemetry.kql.parser import Column, Literal, Node, SemanticError

_NUMBERS = ("int", "long", "real", "timespan")


@dataclass(frozen=True)
class Expression:
    """SQL text and its KQL type."""

    sql: str
    type: str


@dataclass(frozen=True)
class Compiled:
    """A query as SQL, and the (name, type) of the columns that it answers with."""

    sql: str
    columns: tuple[tuple[str, str], ...]


def compile_scalar(node: Node, relation: Compiled, *, aggregates: bool = False) -> Expression:
    """Translate one expression over a relation's columns; aggregates only where summarize allows them."""
    if isinstance(node, Literal):
        return Expression(_constant(node), node.type)
    if isinstance(node, Column):
        kinds = dict(relation.columns)
        if node.name not in kinds:
            raise SemanticError(f"Failed to resolve scalar expression named '{node.name}'")
        return Expression(quoted(node.name), kinds[node.name])
    if node.function in AGGREGATES:
        if not aggregates:
            raise SemanticError(f"aggregate '{node.function}' is only possible in summarize")
        return AGGREGATES[node.function](*(compile_scalar(one, relation) for one in node.arguments))
    if node.function not in SCALARS:
        raise SemanticError(f"Unknown function: '{node.function}' (not supported by the sandbox)")
    arguments = [compile_scalar(one, relation, aggregates=aggregates) for one in node.arguments]
    try:
        return SCALARS[node.function](*arguments)
    except TypeError as error:
        raise SemanticError(f"function '{node.function}' does not take {len(arguments)} arguments") from error


def _constant(literal: Literal) -> str:
    if isinstance(literal.value, str):
        return "'" + literal.value.replace("'", "''").replace("\x00", "") + "'"
    return repr(literal.value)


def quoted(name: str) -> str:
    """Write a column's name as SQL does."""
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
