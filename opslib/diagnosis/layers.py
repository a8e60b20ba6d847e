"""The layers that Azure wraps an error in, outermost first.

A refused request has ARM's error, in its details the code of the inference service, whose message is JSON with the
messages of each field. A failed operation has a code and a message of its own. The deployment's events and the
container's log hold what follows: `log.py`.
"""

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

_CODE_AND_TEXT = re.compile(
    r"^(?:[\w. ]+:\s*)?\((?P<code>[A-Za-z]+)\)\s*(?P<text>.+?)(?=\n\s*(?:Code:|Message:|(?:[\w. ]+:\s*)?\()|\Z)",
    re.DOTALL | re.MULTILINE,
)
_ANSI = re.compile(r"\x1b\[[0-9;]*m")
DEPTH = 10
"""Deepest nesting that is followed [count]."""
BRACES = 20
"""Braces at which a JSON object is looked for in one text [count]."""


@dataclass(frozen=True)
class Layer:
    """One layer of an error: where it was written, its code, and its message."""

    name: str
    code: str
    message: str

    def __str__(self) -> str:
        """Layer, code and message."""
        return f"{self.name}: {self.code}: {self.message}" if self.code else f"{self.name}: {self.message}"


def unwrap(error: Mapping[str, Any] | str, name: str) -> tuple[Layer, ...]:
    """Return the layers of an error as Azure, its SDK or its command line wrote it, the outermost first.

    Parameters
    ----------
    error
        JSON, or text: that of an activity log's `statusMessage`, or what `az` printed.
    name
        What the outermost layer is called, as "operation error".

    Examples
    --------
    >>> text = '{"error": {"code": "BadRequest", "message": "Bad.", "details": [{"code": "X", "message": "y"}]}}'
    >>> [str(layer) for layer in unwrap(text, "ARM error")]
    ['ARM error: BadRequest: Bad.', 'detail: X: y']
    """
    found = tuple(_text(_ANSI.sub("", error), name, 0) if isinstance(error, str) else _object(error, name, 0))
    return tuple(dict.fromkeys(found))


def innermost(layers: tuple[Layer, ...]) -> Layer:
    """Return the layer with the cause: the last one that has a message, else the last."""
    return next((one for one in reversed(layers) if one.message), layers[-1])


def _object(value: Mapping[str, Any], name: str, depth: int) -> Iterator[Layer]:
    if depth > DEPTH:
        return
    inner = value.get("error")
    if isinstance(inner, Mapping):
        yield from _object(inner, name, depth + 1)
        return
    if isinstance(value.get("errors"), Mapping):
        for field, messages in value["errors"].items():
            for message in messages if isinstance(messages, list) else [messages]:
                yield from _text(str(message), "field", depth + 1, str(field))
        return
    code, message = str(value.get("code") or ""), str(value.get("message") or value.get("title") or "")
    yield from _text(message, name, depth + 1, code)
    details = value.get("details")
    for detail in details if isinstance(details, list) else [details]:
        if isinstance(detail, Mapping):
            yield from _object(detail, "detail", depth + 1)


def _text(text: str, name: str, depth: int, code: str = "") -> Iterator[Layer]:
    """Yield a message's own words, then the layers of the JSON in it."""
    start, nested = _nested(text) if depth <= DEPTH else (len(text), None)
    own = text[:start].strip()
    coded = list(_CODE_AND_TEXT.finditer(own))
    if coded and not code:
        for number, one in enumerate(coded):
            yield Layer(name if number == 0 else "detail", one["code"], " ".join(one["text"].split()))
    elif code or own:
        yield Layer(name, code, own)
    if nested is not None:
        yield from _object(nested, name if not (code or own) else "detail", depth + 1)


def _nested(text: str) -> tuple[int, Mapping[str, Any] | None]:
    """Return where the first JSON object in a text begins, and the object; else the text's end, and None."""
    start = text.find("{")
    for _ in range(BRACES):
        if start < 0:
            break
        try:
            value, _end = json.JSONDecoder().raw_decode(text, start)
        except (ValueError, RecursionError):
            start = text.find("{", start + 1)
            continue
        return start, value
    return len(text), None
