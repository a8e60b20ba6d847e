"""The members that the body of every ARM resource has: `tags`, `identity`, `sku`, `properties`.

Source: Microsoft Learn, "Resource Manager REST API: Resources, Create Or Update", `GenericResource`.
"""

from collections.abc import Iterable, Mapping
from typing import Any

from opslib.sandbox.arm.errors import ArmError

_OBJECTS = ("tags", "identity", "sku", "properties")


def check_envelope(body: Mapping[str, Any]) -> None:
    """Refuse a body where one of these members is no object, or a tag no string."""
    check_objects(body, _OBJECTS)
    for name, value in (body.get("tags") or {}).items():
        if not isinstance(value, str):
            raise ArmError.invalid_request(
                f"The tag '{name}' must be a string, got {type(value).__name__}: quote it."
            )


def check_objects(values: Mapping[str, Any], names: Iterable[str]) -> None:
    """Refuse values of which a named one is there and no object."""
    for name in names:
        if values.get(name) is not None and not isinstance(values[name], dict):
            raise ArmError.invalid_request(
                f"Could not convert '{name}': expected an object, got {type(values[name]).__name__}."
            )
