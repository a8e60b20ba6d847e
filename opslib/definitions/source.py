"""A YAML file with the line of each field, its placeholders, and values that replace its own."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from copy import deepcopy
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from opslib.errors import DefinitionError

_PLACEHOLDER = re.compile(r"\{\{\s*([\w.-]+)\s*\}\}")
_MARK = "placeholder-1f0c-"
_JSON_SCALAR = re.compile(r"-?(0|[1-9]\d*)(\.\d+)?(e[+-]?\d+)?|true|false|null", re.IGNORECASE)
_TEXTS = ("tags.", "properties.", "environment_variables.")
"""Sections that hold text only."""
_PART = re.compile(r"([^.\[\]]+)|\[(\d+)\]")


@dataclass(frozen=True)
class Source:
    """A YAML mapping and where it came from.

    Attributes
    ----------
    path
        The file.
    content
        The mapping, with replaced values in it.
    lines
        Line of each field in the file, by dotted name (``request_settings.request_timeout_ms``), from 1 on.
    replaced
        Dotted names of the fields that were set from outside the file.
    included
        Files whose content replaces a ``file:PATH``.
    """

    path: Path
    content: Mapping[str, Any]
    lines: Mapping[str, int]
    replaced: tuple[str, ...] = ()
    included: tuple[Path, ...] = ()

    def line(self, field: str) -> int:
        """Return a field's line, or that of the closest field around it; 1 for what is not in the file."""
        while field and field not in self.lines:
            field = re.sub(r"(\.[^.\[]*|\[\d+\]|^[^.\[]*)$", "", field)
        return self.lines.get(field, 1)

    def get(self, field: str) -> Any:
        """Return a value by its dotted name, None where it is absent."""
        value: Any = self.content
        for part in field.split("."):
            if not isinstance(value, Mapping) or part not in value:
                return None
            value = value[part]
        return value

    def local_path(self, value: str) -> Path:
        """Return a path of the file's, which is relative to the file's own folder; a ``file:`` is dropped."""
        return self.path.parent / value.removeprefix("file:")


def read_utf8(path: Path, what: str) -> str:
    """Return the text of a file that a person wrote; a byte order mark is left out.

    Raises
    ------
    DefinitionError
        If it cannot be read, or is not UTF-8.
    """
    try:
        return path.read_text(encoding="utf-8-sig")
    except OSError as error:
        where = "" if path.is_absolute() else f" in {Path.cwd()}"
        raise DefinitionError(f"{what} {str(path)!r} cannot be read{where}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise DefinitionError(
            f"{path} is not UTF-8 text: {error.reason} at byte {error.start}. Save it as UTF-8"
        ) from error


def read_source(path: Path, replacements: Mapping[str, Any] | None = None, what: str = "definition") -> Source:
    """Read a YAML mapping.

    Parameters
    ----------
    path
        The file.
    replacements
        Values by dotted name, as ``az ml ... --set name=value`` replaces them; ``name[0].key`` reaches into lists.
    what
        What the file is, for messages.

    Raises
    ------
    DefinitionError
        If the file cannot be read, is not a YAML mapping, gives a field twice, is nested too deeply, or holds a
        ``{{placeholder}}`` that nothing replaced. The message names the line.
    """
    text = read_utf8(path, what)
    marked = _PLACEHOLDER.sub(lambda found: _MARK + found.group(1), text)
    try:
        node, content = _load(marked)
        if not isinstance(content, Mapping):
            raise DefinitionError(
                f"{path}: expected a mapping (lines such as `name: value`), got {type(content).__name__}"
            )
        lines = dict(_lines(node, "", path))
        replaced = replace_values(content, replacements or {})
    except yaml.YAMLError as error:
        raise DefinitionError(f"{path} is not YAML: {_first_problem(error)}") from error
    except RecursionError as error:
        why = "an alias (*name) leads back to the value that it is part of, or values are nested too deeply"
        raise DefinitionError(f"{path}: {why}") from error
    _refuse_placeholders(path, replaced, lines)
    return Source(path, replaced, lines, tuple(replacements or {}))


def _load(text: str) -> tuple[yaml.Node | None, Any]:
    """Return the nodes and the content of a YAML text, by libyaml where PyYAML has it: ten times as fast.

    What libyaml refuses, and a text with tabs, is read by PyYAML, as azure-ai-ml reads it: it refuses more tabs.

    Raises
    ------
    yaml.YAMLError
        If it is not YAML, or holds a date that does not exist.
    """
    try:
        return _load_either(text)
    except ValueError as error:  # PyYAML's own of a date such as 2026-02-30, without a place
        for node in _scalars(yaml.compose(text, yaml.SafeLoader)):
            try:
                yaml.SafeLoader("").construct_object(node)
            except ValueError:
                problem = f"{node.value}: {error}. Correct it, or quote it where it is text"
                raise yaml.MarkedYAMLError(problem=problem, problem_mark=node.start_mark) from error
        raise


def _load_either(text: str) -> tuple[yaml.Node | None, Any]:
    if "\t" not in text and hasattr(yaml, "CSafeLoader"):
        with suppress(yaml.YAMLError):
            return yaml.compose(text, yaml.CSafeLoader), yaml.load(text, yaml.CSafeLoader)
    return yaml.compose(text, yaml.SafeLoader), yaml.safe_load(text)


def _scalars(node: yaml.Node | None) -> Iterator[yaml.ScalarNode]:
    """Yield every plain value below a node, and every key."""
    if isinstance(node, yaml.ScalarNode):
        yield node
    elif isinstance(node, yaml.SequenceNode):
        yield from (scalar for inner in node.value for scalar in _scalars(inner))
    elif isinstance(node, yaml.MappingNode):
        yield from (scalar for pair in node.value for inner in pair for scalar in _scalars(inner))


def replace_values(content: Mapping[str, Any], replacements: Mapping[str, Any]) -> dict[str, Any]:
    """Return a mapping with values replaced or added by dotted name.

    >>> replace_values({"model": "a", "tags": {"x": "1"}}, {"model": "azureml:fraud:3", "tags.y": "2"})
    {'model': 'azureml:fraud:3', 'tags': {'x': '1', 'y': '2'}}

    Raises
    ------
    DefinitionError
        If a name leads through a value that has no fields, or to a list's entry that is not there.
    """
    result = deepcopy(dict(content))
    for name, value in replacements.items():
        parts = [word or int(index) for word, index in _PART.findall(name)]
        place: Any = result
        for part, following in zip(parts, [*parts[1:], None], strict=True):
            if isinstance(part, int):
                if not isinstance(place, list) or part >= len(place):
                    raise DefinitionError(f"set {name}: there is no entry {part} to replace")
            elif not isinstance(place, dict):
                raise DefinitionError(f"set {name}: {part!r} has nothing to be set in, found {place!r}")
            if following is None:
                place[part] = value
            else:
                if isinstance(place, dict) and not isinstance(place.get(part), dict | list):
                    place[part] = {}  # `az --set` replaces a plain value by the fields that are set below it
                place = place[part]
    return result


def read_replacements(given: Sequence[str]) -> dict[str, Any]:
    """Read ``name=value`` pairs as az reads them: JSON is read as JSON, everything else is text.

    >>> read_replacements(["model=azureml:fraud:3", "instance_count=2", "description=Fraud: version 3"])
    {'model': 'azureml:fraud:3', 'instance_count': 2, 'description': 'Fraud: version 3'}

    Tags, properties and environment variables are text whatever they look like:

    >>> read_replacements(["tags.version=1.10", "environment_variables.DEBUG=true", 'tags.team="a b"'])
    {'tags.version': '1.10', 'environment_variables.DEBUG': 'true', 'tags.team': 'a b'}

    Raises
    ------
    DefinitionError
        If a pair has no ``=``, an unusable name, or a list or mapping that cannot be read.
    """
    found = {}
    for pair in given:
        name, equals, text = pair.partition("=")
        if not equals or not re.fullmatch(r"[\w$-]+(\.[\w$-]+|\[\d+\])*", name):
            raise DefinitionError(f"set takes name=value, as in model=azureml:fraud:3; got {pair!r}")
        try:
            found[name] = _read_value(name, text.strip())
        except yaml.YAMLError as error:
            raise DefinitionError(f"set {name}: the value is not YAML: {_first_problem(error)}") from error
    return found


def _read_value(name: str, text: str) -> Any:
    if text[:1] in {"[", "{"} and not _PLACEHOLDER.match(text):
        return yaml.safe_load(text)
    if len(text) > 1 and text[0] == text[-1] and text[0] in "'\"":
        return text[1:-1]
    if name.startswith(_TEXTS) or not _JSON_SCALAR.fullmatch(text):
        return text
    return json.loads(text.lower())


def _lines(node: yaml.Node | None, prefix: str, path: Path) -> Iterator[tuple[str, int]]:
    """Yield each field's dotted name and line.

    Raises
    ------
    DefinitionError
        If a field is given twice: a YAML reader keeps the last without a warning.
    """
    if isinstance(node, yaml.SequenceNode):
        for number, inner in enumerate(node.value):
            yield f"{prefix.removesuffix('.')}[{number}]", inner.start_mark.line + 1
            yield from _lines(inner, f"{prefix.removesuffix('.')}[{number}].", path)
    if not isinstance(node, yaml.MappingNode):
        return
    found: dict[str, int] = {}
    for key, value in node.value:
        line = key.start_mark.line + 1
        if key.value in found:
            raise DefinitionError(
                f"{path}:{line}: {prefix}{key.value} is given twice, first in line {found[key.value]}"
            )
        found[key.value] = line
        yield f"{prefix}{key.value}", line
        yield from _lines(value, f"{prefix}{key.value}.", path)


def _refuse_placeholders(path: Path, content: Mapping[str, Any], lines: Mapping[str, int]) -> None:
    left = [(field, name) for field, value in _texts(content, "") for name in _marks(value)]
    if left:
        field, name = left[0]
        more = f" ({len(left) - 1} more)" if len(left) > 1 else ""
        raise DefinitionError(
            f"{path}:{lines.get(field, 1)}: {field} holds the placeholder {{{{{name}}}}}{more}. Fill in the "
            f"template, or pass set with {field}=..."
        )


def _texts(value: Any, prefix: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield f"{prefix}{key}", str(key)
            yield from _texts(inner, f"{prefix}{key}.")
    elif isinstance(value, list):
        for number, inner in enumerate(value):
            yield from _texts(inner, f"{prefix.removesuffix('.')}[{number}].")
    elif isinstance(value, str):
        yield prefix.removesuffix("."), value


def _marks(text: str) -> list[str]:
    return re.findall(rf"{_MARK}([\w.-]+)", text)


def _first_problem(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error)
    return f"line {mark.line + 1}, column {mark.column + 1}: {problem}" if mark else problem
