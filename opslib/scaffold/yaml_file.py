"""A YAML file that is written for people: a head, then sections, each with the comments that explain it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import yaml

from opslib.redaction.redact import holds_secret


@dataclass(frozen=True)
class Section:
    """Fields of the file, the comments above them, and below them the lines that a person may uncomment."""

    comments: Sequence[str] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)
    optional: Sequence[str] = ()

    def __str__(self) -> str:
        """The section as YAML."""
        return _comment(self.comments) + (_dump(self.fields) if self.fields else "") + _comment(self.optional)


@dataclass(frozen=True)
class YamlFile:
    """A file before it is written; `placeholders` are the dotted names of the fields that a person must fill in."""

    name: str
    sections: Sequence[Section]
    placeholders: Sequence[str] = ()

    @property
    def text(self) -> str:
        """The whole file."""
        return "\n".join(str(section) for section in self.sections if section.comments or section.fields)


def hide_secrets(section: str, values: Mapping[str, str]) -> tuple[dict[str, str], tuple[str, ...]]:
    """Replace secrets by placeholders; return the values and the dotted names of what was replaced.

    Examples
    --------
    >>> hide_secrets("environment_variables", {"LEVEL": "debug", "DB_PASSWORD": "correct horse"})
    ({'LEVEL': 'debug', 'DB_PASSWORD': '{{DB_PASSWORD}}'}, ('environment_variables.DB_PASSWORD',))
    """
    secret = tuple(name for name, value in values.items() if holds_secret(name, str(value)))
    shown = {name: f"{{{{{name}}}}}" if name in secret else str(value) for name, value in values.items()}
    return shown, tuple(f"{section}.{name}" for name in secret)


def _comment(lines: Sequence[str]) -> str:
    return "".join(f"# {line}".rstrip() + "\n" for line in lines)


def _dump(fields: Mapping[str, Any]) -> str:
    return yaml.safe_dump(dict(fields), sort_keys=False, allow_unicode=True, width=110)
