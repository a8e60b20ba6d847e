"""Options of a command made from the fields of a dataclass: name, type, description and default."""

import argparse
from dataclasses import fields
from types import NoneType
from typing import Any, get_args, get_type_hints

_METAVARS = {str: "TEXT", int: "INTEGER", float: "NUMBER"}


def add_field_options(parser: argparse.ArgumentParser, values: Any) -> None:
    """Add an option for each field that has a description."""
    hints = get_type_hints(values)
    for field in fields(values):
        if "description" not in field.metadata:
            continue
        types = [one for one in get_args(hints[field.name]) or (hints[field.name],) if one is not NoneType]
        default = "none" if field.default in (None, "") else field.default
        parser.add_argument(
            _option(field.name),
            type=types[0],
            metavar=_METAVARS[types[0]],
            help=f"{field.metadata['description']} (default: {default})",
        )


def chosen(arguments: argparse.Namespace, values: Any) -> dict[str, Any]:
    """Return the options that were given, by the names of their fields."""
    given = {field.name: getattr(arguments, field.name, None) for field in fields(values)}
    return {name: value for name, value in given.items() if value is not None}


def _option(name: str) -> str:
    return "--" + name.replace("_", "-")
