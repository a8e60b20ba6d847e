"""The shape of a template: which of its members are objects, arrays and texts.

Source: Microsoft Learn, "Understand the structure and syntax of ARM templates". Members that are not named here are
free.
"""

from collections.abc import Mapping
from typing import Any

import msgspec

from opslib.sandbox.templates.syntax import TemplateError


class _Loop(msgspec.Struct):
    """A `copy` of resources."""

    name: str
    count: int | str


class _OutputLoop(msgspec.Struct):
    """A `copy` of an output, which gives it the name."""

    count: int | str
    input: Any


class _ValueLoop(_Loop):
    """A `copy` of a variable's values."""

    input: Any


class _Parameter(msgspec.Struct, rename="camel"):
    type: str
    allowed_values: list[Any] | None = None
    min_value: int | None = None
    max_value: int | None = None
    min_length: int | None = None
    max_length: int | None = None


class _Variables(msgspec.Struct):
    copy: list[_ValueLoop] | None = None


class _Resource(msgspec.Struct, rename="camel"):
    type: str
    name: str
    api_version: str | None = None
    condition: bool | str = True
    copy: _Loop | None = None
    depends_on: list[str] | str | None = None
    existing: bool = False
    properties: dict[str, Any] | str | None = None
    resource_group: str | None = None
    resources: "list[_Resource] | dict[str, _Resource] | None" = None
    scope: str | None = None
    subscription_id: str | None = None


class _Output(msgspec.Struct):
    type: str
    value: Any = None
    condition: bool | str = True
    copy: _OutputLoop | None = None


class _Template(msgspec.Struct):
    resources: list[_Resource] | dict[str, _Resource]
    parameters: dict[str, _Parameter] | None = None
    variables: _Variables | None = None
    outputs: dict[str, _Output] | None = None
    functions: list[Any] | None = None


def check_shape(template: Mapping[str, Any], sent: Any) -> None:
    """Refuse a template, or parameters sent with it, whose members are something else than they must be.

    Raises
    ------
    TemplateError
        With the place of the first such member.
    """
    try:
        msgspec.convert(template, _Template)
    except msgspec.ValidationError as error:
        raise TemplateError(f"The template is not valid: {error}.") from error
    if not isinstance(sent, Mapping):
        raise TemplateError(f"The parameters are not valid: expected an object, got {type(sent).__name__}.")
