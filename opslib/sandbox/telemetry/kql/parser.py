"""The Kusto query language: text to a tree, for the operators that are built; anything else is refused.

Source: Microsoft Learn, "Kusto KqlQuery Language (KQL) overview", syntax of tabular operators and scalars.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass

from opslib.sandbox.core.clock import MICROSECONDS, parse_iso_us

MAX_QUERY = 20_000
_MAX_DEPTH = 60
_TOKEN = re.compile(
    r"""\s+|//[^\n]*|(?P<string>'(?:[^'\\\n]|\\.)*'|"(?:[^"\\\n]|\\.)*")
    |(?P<datetime>datetime\s*\([^)]*\))
    |(?P<timespan>\d+(?:\.\d+)?(?:ms|s|m|h|d)\b)
    |(?P<number>\d+(?:\.\d+)?(?:[eE][-+]?\d+)?)
    |(?P<name>[A-Za-z_][A-Za-z0-9_]*(?:-(?:away|rename|keep)\b)?)
    |(?P<symbol>==|!=|=~|!~|<=|>=|\.\.|!(?=[a-z])|[-+*/%()<>=,|])""",
    re.VERBOSE,
)
_UNITS = {
    "ms": 1000,
    "s": MICROSECONDS,
    "m": 60 * MICROSECONDS,
    "h": 3600 * MICROSECONDS,
    "d": 86400 * MICROSECONDS,
}
_SYMBOL_COMPARISONS = ("==", "!=", "=~", "!~", "<=", ">=", "<", ">")
_WORD_COMPARISONS = ("has", "contains", "startswith", "endswith", "has_cs", "contains_cs", "startswith_cs")
_ESCAPES = {"n": "\n", "t": "\t", "r": "\r"}


class SemanticError(Exception):
    """The query cannot be parsed, or uses what is not built."""


@dataclass(frozen=True)
class Literal:
    """A constant with its KQL type; times and spans are in microseconds."""

    value: str | int | float
    type: str


@dataclass(frozen=True)
class Column:
    """A column's name."""

    name: str


@dataclass(frozen=True)
class Call:
    """An operator or a function applied to its arguments; operators go by their sign."""

    function: str
    arguments: tuple["Node", ...]


Node = Literal | Column | Call
Named = tuple[str | None, Node]


@dataclass(frozen=True)
class Step:
    """One tabular operator: its word, and its parts."""

    word: str
    items: tuple[Named, ...] = ()
    by: tuple[Named, ...] = ()
    descending: tuple[bool, ...] = ()


@dataclass(frozen=True)
class KqlQuery:
    """A table and the operators applied to it."""

    table: str
    steps: tuple[Step, ...]


def parse(text: str) -> KqlQuery:
    """Read a query.

    Raises
    ------
    SemanticError
        If it is not KQL as far as it is built.
    """
    if len(text) > MAX_QUERY:
        raise SemanticError(f"the query is longer than {MAX_QUERY} characters")
    return _Parser(_tokens(text)).query()


def _tokens(text: str) -> list[tuple[str, str]]:
    found, position = [], 0
    text = text.strip().rstrip(";")
    while position < len(text):
        match = _TOKEN.match(text, position)
        if match is None:
            raise SemanticError(f"syntax error at {text[position : position + 20]!r}")
        if match.lastgroup is not None:
            found.append((match.lastgroup, match.group()))
        position = match.end()
    return [*found, ("end", "")]


class _Parser:
    """Recursive descent over the tokens."""

    def __init__(self, tokens: list[tuple[str, str]]) -> None:
        self._tokens = tokens
        self._at = 0
        self._depth = 0

    def query(self) -> KqlQuery:
        table = self._name()
        steps = []
        while self._take("|"):
            steps.append(self._step())
        if self._peek()[0] != "end":
            raise SemanticError(f"expected '|' or the end of the query, got {self._peek()[1]!r}")
        return KqlQuery(table, tuple(steps))

    def _step(self) -> Step:  # noqa: PLR0911 - one return for each operator
        word = self._name()
        if word in ("where", "filter"):
            return Step("where", ((None, self._expression()),))
        if word in ("extend", "project", "distinct"):
            return Step(word, self._list())
        if word == "summarize":
            items = () if self._peek()[1] == "by" else self._list()
            return Step(word, items, self._list() if self._take("by") else ())
        if word in ("order", "sort"):
            self._require("by")
            return self._ordered("order", ())
        if word == "top":
            count = self._expression()
            self._require("by")
            return self._ordered("top", ((None, count),))
        if word in ("take", "limit"):
            return Step("take", ((None, self._expression()),))
        if word == "count":
            return Step("count")
        raise SemanticError(
            f"operator '{word}' is not supported by the sandbox: use where, extend, project, summarize, order by, "
            "top, take, count or distinct"
        )

    def _ordered(self, word: str, items: tuple[Named, ...]) -> Step:
        by: list[Named] = []
        descending = []
        while True:
            by.append((None, self._expression()))
            descending.append(not self._take("asc") if self._peek()[1] in ("asc", "desc") else True)
            if descending[-1]:
                self._take("desc")
            if self._take("nulls") and not (self._take("first") or self._take("last")):
                raise SemanticError("expected 'first' or 'last' after 'nulls'")
            if not self._take(","):
                return Step(word, items, tuple(by), tuple(descending))

    def _list(self) -> tuple[Named, ...]:
        items = [self._item()]
        while self._take(","):
            items.append(self._item())
        return tuple(items)

    def _item(self) -> Named:
        kind, text = self._peek()
        if kind == "name" and self._tokens[self._at + 1][1] == "=":
            self._at += 2
            return text, self._expression()
        return None, self._expression()

    def _expression(self) -> Node:
        self._depth += 1
        if self._depth > _MAX_DEPTH:
            raise SemanticError(f"the expression is nested more than {_MAX_DEPTH} deep")
        node = self._chain(("or",), lambda: self._chain(("and",), self._comparison))
        self._depth -= 1
        return node

    def _chain(self, words: tuple[str, ...], inner: Callable[[], Node]) -> Node:
        node = inner()
        while self._peek()[1] in words and self._peek()[0] in ("name", "symbol"):
            operator = self._next()[1]
            node = Call(operator, (node, inner()))
        return node

    def _comparison(self) -> Node:
        left = self._sum()
        kind, text = self._peek()
        if kind == "symbol" and text in _SYMBOL_COMPARISONS:
            self._next()
            return Call(text, (left, self._sum()))
        negated = kind == "symbol" and text == "!"
        if negated:
            self._next()
        word = self._peek()[1]
        if word in ("in", "between") or word in _WORD_COMPARISONS:
            self._next()
            node = Call(word, (left, *self._operands(word)))
            return Call("not", (node,)) if negated else node
        if negated:
            raise SemanticError(f"operator '!{word}' is not supported by the sandbox")
        return left

    def _operands(self, word: str) -> tuple[Node, ...]:
        if word == "in":
            self._require("(")
            return self._arguments()
        if word == "between":
            self._require("(")
            low = self._sum()
            self._require("..")
            high = self._sum()
            self._require(")")
            return low, high
        return (self._sum(),)

    def _sum(self) -> Node:
        return self._chain(("+", "-"), lambda: self._chain(("*", "/", "%"), self._unary))

    def _unary(self) -> Node:
        if self._take("-"):
            return Call("negate", (self._unary(),))
        return self._primary()

    def _primary(self) -> Node:
        kind, text = self._next()
        if text == "(":
            node = self._expression()
            self._require(")")
            return node
        if kind == "name":
            if self._take("("):
                return Call(text, self._arguments())
            return Literal(int(text == "true"), "bool") if text in ("true", "false") else Column(text)
        return _literal(kind, text)

    def _arguments(self) -> tuple[Node, ...]:
        if self._take(")"):
            return ()
        arguments = [self._expression()]
        while self._take(","):
            arguments.append(self._expression())
        self._require(")")
        return tuple(arguments)

    def _peek(self) -> tuple[str, str]:
        return self._tokens[self._at]

    def _next(self) -> tuple[str, str]:
        token = self._tokens[self._at]
        self._at += token[0] != "end"
        return token

    def _take(self, text: str) -> bool:
        kind, seen = self._peek()
        found = seen == text and kind in ("name", "symbol")
        self._at += found
        return found

    def _require(self, text: str) -> None:
        if not self._take(text):
            raise SemanticError(f"expected {text!r}, got {self._peek()[1]!r}")

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            raise SemanticError(f"expected a name, got {text!r}")
        return text


def _literal(kind: str, text: str) -> Literal:
    if kind == "string":
        return Literal(re.sub(r"\\(.)", lambda m: _ESCAPES.get(m[1], m[1]), text[1:-1]), "string")
    if kind == "number":
        return Literal(float(text), "real") if re.search(r"[.eE]", text) else Literal(int(text), "long")
    if kind == "timespan":
        match = re.match(r"([\d.]+)(\w+)", text)
        amount, unit = match.groups() if match is not None else ("0", "s")
        return Literal(round(float(amount) * _UNITS[unit]), "timespan")
    if kind == "datetime":
        inner = text.split("(", 1)[1].rstrip(")").strip().strip("'\"")
        try:
            return Literal(parse_iso_us(inner), "datetime")
        except ValueError as error:
            raise SemanticError(f"'{inner}' is no datetime") from error
    raise SemanticError(f"expected an expression, got {text!r}")
