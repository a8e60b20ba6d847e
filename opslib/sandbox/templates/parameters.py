"""The parameters of a template: what was sent, held against what the template declares.

Messages are Azure Resource Manager's as they are widely quoted; line and column are always 1.
"""

from collections.abc import Mapping
from typing import Any

from opslib.sandbox.templates.evaluate import resolve
from opslib.sandbox.templates.scope import Place, Scope
from opslib.sandbox.templates.syntax import TemplateError

SECURE = ("securestring", "secureobject")
_KINDS: dict[str, tuple[str, type | tuple[type, ...]]] = {
    "string": ("String", str),
    "securestring": ("String", str),
    "int": ("Integer", int),
    "bool": ("Boolean", bool),
    "array": ("Array", list),
    "object": ("Object", dict),
    "secureobject": ("Object", dict),
}
_AT = "at line '1' and column '1'"


def values_of(declared: Mapping[str, Any], sent: Mapping[str, Any], place: Place) -> dict[str, Any]:
    """Return each parameter's value: as sent, else its default.

    Raises
    ------
    TemplateError
        If one is missing, unknown, of another type, or outside what is allowed.
    """
    given = {name.lower(): value for name, value in sent.items()}
    unknown = sorted(set(given) - {name.lower() for name in declared})
    if unknown:
        raise TemplateError(
            f"The template parameters '{', '.join(unknown)}' in the parameters file are not valid; they are not "
            "present in the original template and can therefore not be provided at deployment time. The only "
            f"supported parameters for this template are '{', '.join(declared)}'."
        )
    values: dict[str, Any] = {}
    for name, rule in declared.items():
        values[name] = _value(name, rule, _sent(name, given.get(name.lower())), Scope(place, values))
    return values


def shown(declared: Mapping[str, Any], values: Mapping[str, Any]) -> dict[str, Any]:
    """Return parameters as a deployment shows them: secure ones without their value."""
    rows = {}
    for name, value in values.items():
        kind = str(declared[name]["type"])
        hidden = kind.lower() in SECURE
        rows[name] = {"type": kind[0].upper() + kind[1:], **({} if hidden else {"value": value})}
    return rows


def _value(name: str, rule: Mapping[str, Any], sent: Any, scope: Scope) -> Any:
    kind = str(rule.get("type", "")).lower()
    if kind not in _KINDS:
        raise TemplateError(f"The type '{rule.get('type')}' of the template parameter '{name}' is not valid.")
    if sent is None and "defaultValue" not in rule and not rule.get("nullable"):
        raise TemplateError(
            f"The value for the template parameter '{name}' {_AT} is not provided. Please see "
            "https://aka.ms/arm-create-parameter-file for usage details."
        )
    value = resolve(rule.get("defaultValue"), scope) if sent is None else sent
    if value is not None or not rule.get("nullable"):
        _check(name, kind, rule, value)
    return value


def _sent(name: str, sent: Any) -> Any:
    """Return the value that was sent; null, which azure-ai-ml sends for what it does not know, is none."""
    if sent is None:
        return None
    if isinstance(sent, Mapping) and "reference" in sent:
        raise TemplateError(
            f"The template parameter '{name}' refers to a key vault's secret. The sandbox keeps no secrets: "
            "send a value."
        )
    if not isinstance(sent, Mapping) or "value" not in sent:
        raise TemplateError(f"The template parameter '{name}' is not valid: expected an object with 'value'.")
    return sent["value"]


def _check(name: str, kind: str, rule: Mapping[str, Any], value: Any) -> None:
    words, types = _KINDS[kind]
    if not isinstance(value, types) or (kind == "int" and isinstance(value, bool)):
        raise TemplateError(
            f"The provided value for the template parameter '{name}' is not valid. Expected a value of type "
            f"'{words}', but received a value of type '{_word(value)}'. Please see "
            "https://aka.ms/arm-create-parameter-file for usage details."
        )
    allowed = rule.get("allowedValues")
    if (
        allowed is not None
        and value not in allowed
        and not (isinstance(value, list) and all(one in allowed for one in value))
    ):
        raise TemplateError(
            f"The provided value '{value}' for the template parameter '{name}' {_AT} is not valid. The value is "
            f"not part of the allowed value(s): '{','.join(map(str, allowed))}'."
        )
    size = value if kind == "int" else len(value) if isinstance(value, str | list) else None
    low, high = ("minValue", "maxValue") if kind == "int" else ("minLength", "maxLength")
    if size is not None and not rule.get(low, size) <= size <= rule.get(high, size):
        raise TemplateError(
            f"The provided value for the template parameter '{name}' {_AT} is not valid. It has to be between "
            f"{rule.get(low, 'any')} and {rule.get(high, 'any')}, got {size}."
        )


def _word(value: Any) -> str:
    return next((words for words, types in _KINDS.values() if type(value) is types), "Null")
