"""The form in which `recorded/*.json` describes answers of Azure, and how an answer is compared with it.

A description is derived from recordings that Microsoft publishes beside its clients; it holds no value of theirs.
`body` maps the path of each leaf to what it is: a JSON literal, `= text` for a literal text, `like a*c` for a
pattern, or one of `KINDS`. `headers` maps a name to the same, to `null` where the header is absent. A path that is
not described must not be there, unless something above it is an `object`.
"""

import json
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from fnmatch import fnmatchcase
from functools import cache
from pathlib import Path
from typing import Any

import httpx

FOLDER = Path(__file__).parent / "recorded"
Flat = dict[str, Any]

_STAMP = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,7})?"
_OPERATION = r"https://[^/]+/subscriptions/[^/]+/providers/Microsoft\.MachineLearningServices/locations/[^/]+/"
_SIGNED = r"&t=\d+&c=[\w-]+&s=[\w-]+&h=[\w-]+"


def _matches(pattern: str) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, str) and re.fullmatch(pattern, value, re.DOTALL) is not None


def _is_json_or_empty(value: Any) -> bool:
    try:
        return isinstance(value, str) and (not value or isinstance(json.loads(value), dict))
    except ValueError:
        return False


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


KINDS: Mapping[str, Callable[[Any], bool]] = {
    "any": lambda _value: True,
    "object": lambda value: isinstance(value, dict),
    "{}": lambda value: value == {},
    "[]": lambda value: value == [],
    "list of text": lambda value: isinstance(value, list) and all(isinstance(one, str) for one in value),
    "list of objects": lambda value: isinstance(value, list) and all(isinstance(one, dict) for one in value),
    "text": lambda value: isinstance(value, str),
    "text or null": lambda value: value is None or isinstance(value, str),
    "true or false": lambda value: isinstance(value, bool),
    "integer": lambda value: isinstance(value, int) and not isinstance(value, bool),
    "number": lambda value: _is_number(value) or (isinstance(value, str) and value.replace(".", "", 1).isdigit()),
    "time +00:00": _matches(_STAMP + r"\+00:00"),
    "time Z": _matches(_STAMP + "Z"),
    "duration": _matches(r"P.+"),
    "guid": _matches(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}"),
    "ARM id": _matches(r"/subscriptions/.+"),
    "URL": _matches(r"(https|azureml)://.+"),
    "JWT": _matches(r"[\w-]+\.[\w-]+\.[\w-]+"),
    "JSON or empty": _is_json_or_empty,
    "lower case": lambda value: isinstance(value, str) and value == value.lower(),
    "lower case up to the provider": _matches(
        r"(/[^A-Z/]+)+/providers/microsoft\.insights/diagnosticSettings/[^/]+"
    ),
    "ETag": _matches(r'"0x8D[0-9A-F]+"'),
    "container log": _matches(
        r"Instance status:\n(\w+: \w+\n)+\nContainer events:\n(Kind: Pod, Name: .+\n)+\nContainer logs:\n.*"
    ),
    "operation": _matches(_OPERATION + r"mfeOperationsStatus/[^?]+\?api-version=[\w-]+"),
    "operation, signed": _matches(_OPERATION + r"mfeOperationsStatus/[^?]+\?api-version=[\w-]+" + _SIGNED),
    "result, signed": _matches(_OPERATION + r"mfeOperationResults/[^?]+\?api-version=[\w-]+" + _SIGNED),
}


@dataclass(frozen=True)
class Recorded:
    """One exchange with Azure, as recorded."""

    name: str
    method: str
    path: str
    api_version: str
    year: str
    status: int
    body: Flat | str
    headers: Flat


@cache
def recorded_exchanges() -> dict[str, Recorded]:
    """Return all recorded exchanges by name."""
    rows = [row for path in sorted(FOLDER.glob("*.json")) for row in json.loads(path.read_text(encoding="utf-8"))]
    return {row["name"]: Recorded(**{"headers": {}, **row}) for row in rows}


def differences(recorded: Recorded, answer: httpx.Response) -> dict[str, str]:
    """Return what differs in an answer: place -> recorded and seen."""
    found = {}
    if answer.status_code != recorded.status:
        found["status"] = f"recorded {recorded.status}, seen {answer.status_code}"
    for name, kind in recorded.headers.items():
        seen = answer.headers.get(name)
        if not _agrees(kind, seen, str(answer.request.url)):
            found[name] = f"recorded {kind}, seen {str(seen)[:120]}"
    if isinstance(recorded.body, str):
        whole = {"none": b"", "null": b"null"}.get(recorded.body)
        if whole is not None and answer.content != whole:
            found["body"] = f"recorded {recorded.body}, seen {answer.content[:60]!r}"
        return found
    seen_body = answer.json() if answer.content else {}
    return found | dict(_leaves(recorded.body, seen_body))


def _leaves(recorded: Flat, body: Any) -> Iterator[tuple[str, str]]:
    seen = dict(_flat(body, recorded))
    for path in recorded.keys() | seen.keys():
        if path not in recorded:
            yield path, f"not recorded, seen {seen[path]!r}"
        elif path not in seen and recorded[path] != "any":
            yield path, f"recorded {recorded[path]!r}, absent"
        elif not _agrees(recorded[path], seen.get(path), ""):
            yield path, f"recorded {recorded[path]!r}, seen {str(seen[path])[:120]!r}"


def _flat(value: Any, recorded: Flat, path: str = "") -> Iterator[tuple[str, Any]]:
    """Yield each leaf and its path, as deep as the recording describes; of a list its first member counts."""
    if path in recorded:
        yield path, [one["type"] for one in value] if path.endswith("additionalInfo") else value
    elif isinstance(value, dict) and value:
        for key, inner in value.items():
            yield from _flat(inner, recorded, f"{path}.{key}" if path else key)
    elif isinstance(value, list) and value:
        yield from _flat(value[0], recorded, path + "[]")
    else:
        yield path, value


def _agrees(kind: Any, seen: Any, own: str) -> bool:
    if not isinstance(kind, str):
        return bool(kind == seen and isinstance(kind, bool) == isinstance(seen, bool))
    if kind == "own address":
        return bool(seen == own)
    if kind.startswith("= "):
        return bool(seen == kind[2:])
    if kind.startswith("like "):
        return isinstance(seen, str) and fnmatchcase(seen, kind[5:])
    return KINDS[kind](seen)
