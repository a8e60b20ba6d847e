"""The expressions of Azure Resource Manager templates, read into a tree.

Source: Microsoft Learn, "Syntax and expressions in ARM templates". A text that begins with `[` and ends with `]` is
an expression; `[[` begins a text that is not.
"""

import re
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

_TOKEN = re.compile(
    r"\s*(?:(?P<text>'(?:[^']|'')*')|(?P<number>-?\d+(?:\.\d+)?)|(?P<name>[A-Za-z_][\w-]*)|(?P<mark>[().,\[\]]))"
)
MAX_DEPTH = 64


class TemplateError(Exception):
    """A template that Azure Resource Manager would refuse; the message is for its author."""


@dataclass(frozen=True)
class Literal:
    """A text or a number."""

    value: Any


@dataclass(frozen=True)
class Call:
    """A call of a function; names are in lower case, for they are compared without regard to case."""

    name: str
    arguments: tuple["Node", ...]


@dataclass(frozen=True)
class Member:
    """`of.name` or `of[name]`."""

    of: "Node"
    name: "Node"


Node = Literal | Call | Member


def is_expression(text: str) -> bool:
    """Return whether a text of a template is evaluated."""
    return text.startswith("[") and text.endswith("]") and not text.startswith("[[")


@lru_cache(maxsize=4096)
def parse(text: str) -> Node:
    """Read one expression, with its brackets.

    Raises
    ------
    TemplateError
        If it is not one.
    """
    reader = _Reader(text)
    node = reader.expression(0)
    if reader.peek()[0] != "end":
        raise reader.unexpected("the end of the expression")
    return node


class _Reader:
    """Reads tokens from left to right."""

    def __init__(self, text: str) -> None:
        self._text = text
        self._tokens = list(self._read(text[1:-1]))
        self._at = 0

    def _read(self, inner: str) -> Any:
        position = 0
        while position < len(inner.rstrip()):
            found = _TOKEN.match(inner, position)
            if found is None:
                raise TemplateError(
                    f"The language expression '{self._text}' is not valid: the text "
                    f"'{inner[position:][:20].strip()}' is not expected."
                )
            yield str(found.lastgroup), found[str(found.lastgroup)]
            position = found.end()
        yield "end", ""

    def peek(self) -> tuple[str, str]:
        """Return the next token: its kind and its text."""
        token: tuple[str, str] = self._tokens[self._at]
        return token

    def unexpected(self, wanted: str) -> TemplateError:
        """Return the error for the next token."""
        seen = self.peek()[1] or "the end"
        return TemplateError(f"The language expression '{self._text}' is not valid: expected {wanted}, got {seen}.")

    def expression(self, depth: int) -> Node:
        """Read a literal or a call, with the members that follow it."""
        if depth > MAX_DEPTH:
            raise TemplateError(
                f"The language expression '{self._text[:80]}' is nested more than {MAX_DEPTH} deep."
            )
        kind, text = self._next()
        if kind == "text":
            node: Node = Literal(text[1:-1].replace("''", "'"))
        elif kind == "number":
            node = Literal(float(text) if "." in text else int(text))
        elif kind == "name":
            node = Call(self._function(text), self._arguments(depth))
        else:
            self._at -= 1
            raise self.unexpected("a function, a number or a text in single quotes")
        return self._members(node, depth)

    def _function(self, name: str) -> str:
        while self._took("."):  # a function of the template's own: namespace.name
            name += "." + self._name()
        return name.lower()

    def _arguments(self, depth: int) -> tuple[Node, ...]:
        if not self._took("("):
            raise self.unexpected("'('")
        found: list[Node] = []
        while not self._took(")"):
            if found and not self._took(","):
                raise self.unexpected("',' or ')'")
            found.append(self.expression(depth + 1))
        return tuple(found)

    def _members(self, node: Node, depth: int) -> Node:
        while True:
            if self._took("."):
                node = Member(node, Literal(self._name()))
            elif self._took("["):
                node = Member(node, self.expression(depth + 1))
                if not self._took("]"):
                    raise self.unexpected("']'")
            else:
                return node

    def _name(self) -> str:
        kind, text = self._next()
        if kind != "name":
            self._at -= 1
            raise self.unexpected("a name")
        return text

    def _next(self) -> tuple[str, str]:
        token = self.peek()
        self._at += token[0] != "end"
        return token

    def _took(self, mark: str) -> bool:
        if self.peek() != ("mark", mark):
            return False
        self._at += 1
        return True
