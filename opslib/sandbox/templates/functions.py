"""The functions of templates that need nothing but their arguments.

Source: Microsoft Learn, "ARM template functions". `uniqueString` gives 13 characters that depend on its arguments
alone, as Azure's does; its algorithm is not published, so they are not the same characters.
"""

import base64
import hashlib
import json
import re
import uuid
from collections.abc import Callable, Mapping
from types import MappingProxyType
from typing import Any
from urllib.parse import quote, urljoin

from opslib.sandbox.templates.syntax import TemplateError

Function = Callable[..., Any]
_GUIDS = uuid.UUID("11fb06fb-712d-4ddd-98c7-e71bbd588830")  # namespace of `guid`, as Bicep's sources have it
MAX_ITEMS = 10_000  # of `range`, as Azure has it
_PLACE = re.compile(r"\{(\d+)\}")
_LETTERS = "abcdefghijklmnopqrstuvwxyz234567"


def call(name: str, arguments: list[Any]) -> Any:
    """Return a function's value.

    Raises
    ------
    TemplateError
        If there is no function of that name here, or it does not take these arguments.
    """
    function = FUNCTIONS.get(name)
    if function is None:
        raise TemplateError(f"The template function '{name}' is not valid, or the sandbox does not have it.")
    return guarded(name, arguments, lambda: function(*arguments))


def guarded(name: str, arguments: list[Any], function: Callable[[], Any]) -> Any:
    """Return what a function gives for these arguments.

    Raises
    ------
    TemplateError
        If it does not take them.
    """
    try:
        return function()
    except (TypeError, ValueError, LookupError, ArithmeticError, AttributeError, RecursionError) as error:
        raise TemplateError(
            f"The template function '{name}' does not take these {len(arguments)} arguments: {error}."
        ) from error


def text_of(value: Any) -> str:
    """Return a value as a template's text: true and false in the spelling of .NET."""
    if isinstance(value, bool):
        return str(value)
    return value if isinstance(value, str) else json.dumps(value, separators=(",", ":"))


def same(one: Any, other: Any) -> bool:
    """Return whether `equals` holds: texts are compared with regard to case, and true is not 1."""
    return type(one) is type(other) and bool(one == other) if isinstance(one, bool) else bool(one == other)


def _concat(*parts: Any) -> Any:
    if parts and all(isinstance(part, list) for part in parts):
        return [item for part in parts for item in part]
    return "".join(text_of(part) for part in parts)


def _contains(whole: Any, part: Any) -> bool:
    if isinstance(whole, Mapping):
        return any(name.lower() == str(part).lower() for name in whole)
    return str(part) in whole if isinstance(whole, str) else part in whole


def _bool(value: Any) -> bool:
    if str(value).lower() in ("true", "false"):
        return str(value).lower() == "true"
    return bool(int(value))


def _format(pattern: str, *values: Any) -> str:
    """Put values for `{0}`, `{1}`; formats of .NET such as `{0:D3}` are not known here."""
    return _PLACE.sub(lambda found: text_of(values[int(found[1])]), pattern)


def _pad_left(text: Any, width: int, mark: str = " ") -> str:
    return text_of(text).rjust(_bounded(width), mark)


def _range(start: int, count: int) -> list[int]:
    return list(range(start, start + _bounded(count)))


def _bounded(count: int) -> int:
    if count > MAX_ITEMS:
        raise ValueError(f"{count} is more than {MAX_ITEMS}")
    return count


def _split(text: str, marks: str | list[str]) -> list[str]:
    first, *others = [marks] if isinstance(marks, str) else marks
    for other in others:
        text = text.replace(other, first)
    return text.split(first)


def _union(*parts: Any) -> Any:
    if all(isinstance(part, Mapping) for part in parts):
        return _merged(parts)
    found: list[Any] = []
    for part in parts:
        found += [item for item in part if item not in found]
    return found


def _merged(parts: Any) -> dict[str, Any]:
    merged: dict[str, Any] = {}
    for part in parts:
        for name, value in part.items():
            both = isinstance(merged.get(name), Mapping) and isinstance(value, Mapping)
            merged[name] = _merged((merged[name], value)) if both else value
    return merged


def _intersection(first: Any, *others: Any) -> Any:
    if isinstance(first, Mapping):
        return {name: value for name, value in first.items() if all(one.get(name) == value for one in others)}
    return [item for item in first if all(item in one for one in others)]


def _unique(*parts: str) -> str:
    number = int.from_bytes(hashlib.sha256("-".join(parts).encode()).digest()[:9], "big")
    return "".join(_LETTERS[number >> (5 * place) & 31] for place in range(13))


def _try_get(whole: Any, *names: Any) -> Any:
    for name in names:
        try:
            whole = whole[name]
        except (LookupError, TypeError):
            return None
    return whole


def _first(value: Any) -> Any:
    return value[0] if value else ("" if isinstance(value, str) else None)


def _index(text: str, part: str) -> int:
    return text.lower().find(part.lower())


def _last_index(text: str, part: str) -> int:
    return text.lower().rfind(part.lower())


FUNCTIONS: Mapping[str, Function] = MappingProxyType(
    {
        "add": lambda one, other: one + other,
        "array": lambda value: value if isinstance(value, list) else [value],
        "base64": lambda text: base64.b64encode(text.encode()).decode(),
        "base64tostring": lambda text: base64.b64decode(text).decode(),
        "bool": _bool,
        "concat": _concat,
        "contains": _contains,
        "createarray": lambda *items: list(items),
        "createobject": lambda *items: dict(zip(items[::2], items[1::2], strict=True)),
        "div": lambda one, other: int(one / other),
        "empty": lambda value: value is None or len(value) == 0,
        "endswith": lambda text, part: text.lower().endswith(part.lower()),
        "equals": same,
        "false": lambda: False,
        "first": _first,
        "flatten": lambda lists: [item for one in lists for item in one],
        "float": float,
        "format": _format,
        "greater": lambda one, other: one > other,
        "greaterorequals": lambda one, other: one >= other,
        "guid": lambda *parts: str(uuid.uuid5(_GUIDS, "-".join(parts))),
        "indexof": _index,
        "int": int,
        "intersection": _intersection,
        "items": lambda whole: [{"key": name, "value": whole[name]} for name in sorted(whole)],
        "join": lambda items, mark: mark.join(text_of(item) for item in items),
        "json": json.loads,
        "last": lambda value: _first(value[::-1]),
        "lastindexof": _last_index,
        "length": len,
        "less": lambda one, other: one < other,
        "lessorequals": lambda one, other: one <= other,
        "max": lambda *items: max(items[0] if isinstance(items[0], list) else items),
        "min": lambda *items: min(items[0] if isinstance(items[0], list) else items),
        "mod": lambda one, other: one % other,
        "mul": lambda one, other: one * other,
        "not": lambda value: not value,
        "null": lambda: None,
        "objectkeys": sorted,
        "padleft": _pad_left,
        "range": _range,
        "replace": lambda text, old, new: text.replace(old, new),
        "skip": lambda value, count: value[max(count, 0) :],
        "split": _split,
        "startswith": lambda text, part: text.lower().startswith(part.lower()),
        "string": text_of,
        "sub": lambda one, other: one - other,
        "substring": lambda text, start, count=None: text[start:] if count is None else text[start : start + count],
        "take": lambda value, count: value[: max(count, 0)],
        "tolower": lambda text: text.lower(),
        "toupper": lambda text: text.upper(),
        "trim": lambda text: text.strip(),
        "true": lambda: True,
        "tryget": _try_get,
        "union": _union,
        "uniquestring": _unique,
        "uri": urljoin,
        "uricomponent": lambda text: quote(text, safe=""),
    }
)
