"""The values of a template: each expression is evaluated in the scope that it is written in."""

from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opslib.sandbox.templates import functions
from opslib.sandbox.templates.deployment_functions import OF_DEPLOYMENT, read
from opslib.sandbox.templates.scope import Scope, VariableLoop
from opslib.sandbox.templates.syntax import Call, Literal, Member, Node, TemplateError, is_expression, parse

MAX_COPIES = 800
"""Most resources of a template, and so most copies of one."""


def resolve(value: Any, scope: Scope) -> Any:
    """Return a value of a template with every expression in it evaluated.

    Raises
    ------
    TemplateError
        If an expression cannot be evaluated.
    NeedsResource
        If the value depends on a resource that was not read yet.
    """
    if isinstance(value, str):
        if is_expression(value):
            return _value(parse(value), scope)
        return value[1:] if value.startswith("[[") else value
    if isinstance(value, list):
        return [resolve(item, scope) for item in value]
    if isinstance(value, Mapping):
        loops = value.get("copy")
        made = _loops(loops, scope) if loops is not None and _is_loops(loops) else {}
        return {
            _key(name, scope): resolve(item, scope) for name, item in value.items() if not (made and name == "copy")
        } | made
    return value


def _key(name: str, scope: Scope) -> str:
    made = resolve(name, scope)
    if not isinstance(made, str):
        raise TemplateError(f"The name of a property must be a text, got {type(made).__name__}: '{name}'.")
    return made


def copies_of(count: Any, scope: Scope, name: str) -> int:
    """Return how many copies a loop makes."""
    number = resolve(count, scope)
    if not isinstance(number, int) or not 0 <= number <= MAX_COPIES:
        raise TemplateError(
            f"The copy count of loop '{name}' must be an integer value between 0 and {MAX_COPIES}, got {number!r}."
        )
    return number


def _is_loops(loops: Any) -> bool:
    """Return whether `copy` is a property's loop, and not a property of that name."""
    return isinstance(loops, list) and all(
        isinstance(one, Mapping) and isinstance(one.get("name"), str) and "input" in one for one in loops
    )


def _loops(loops: list[Any], scope: Scope) -> dict[str, Any]:
    return {
        one["name"]: [
            resolve(one["input"], scope.at(one["name"], index))
            for index in range(copies_of(one.get("count"), scope, one["name"]))
        ]
        for one in loops
    }


def _value(node: Node, scope: Scope) -> Any:
    if isinstance(node, Literal):
        return node.value
    if isinstance(node, Member):
        return _member(_value(node.of, scope), _value(node.name, scope))
    special = _LAZY.get(node.name)
    if special is not None:
        return special(node, scope)
    arguments = [_value(one, scope) for one in node.arguments]
    if node.name.startswith("list") and arguments and node.name not in functions.FUNCTIONS:
        return read(scope, str(arguments[0]), arguments, node.name)
    known = OF_DEPLOYMENT.get(node.name)
    if known is None:
        return functions.call(node.name, arguments)
    return functions.guarded(node.name, arguments, lambda: known(scope, arguments))


def _member(of: Any, name: Any) -> Any:
    if isinstance(of, Mapping):
        found = next((key for key in of if str(key).lower() == str(name).lower()), None)
        if found is not None:
            return of[found]
        raise TemplateError(
            f"The language expression property '{name}' doesn't exist, available properties are "
            f"'{', '.join(map(str, of))}'."
        )
    if isinstance(of, list | str) and isinstance(name, int) and 0 <= name < len(of):
        return of[name]
    raise TemplateError(f"The language expression property '{name}' can't be evaluated on {functions.text_of(of)}.")


def _if(node: Call, scope: Scope) -> Any:
    condition, then, otherwise = _taking(node, 3)
    return _value(then if _value(condition, scope) else otherwise, scope)


def _taking(node: Call, count: int) -> tuple[Node, ...]:
    if len(node.arguments) != count:
        raise TemplateError(
            f"The template function '{node.name}' takes {count} arguments, got {len(node.arguments)}."
        )
    return node.arguments


def _coalesce(node: Call, scope: Scope) -> Any:
    return next((found for one in node.arguments if (found := _value(one, scope)) is not None), None)


def _variable(node: Call, scope: Scope) -> Any:
    name = str(_value(_taking(node, 1)[0], scope))
    found = next((key for key in scope.variables if key.lower() == name.lower()), None)
    if found is None:
        raise TemplateError(f"The template variable '{name}' is not found.")
    without = {key: value for key, value in scope.variables.items() if key != found}  # it may not refer to itself
    value, inside = scope.variables[found], replace(scope, variables=without)
    return _loops([value.loop], inside)[found] if isinstance(value, VariableLoop) else resolve(value, inside)


def _parameter(node: Call, scope: Scope) -> Any:
    name = str(_value(_taking(node, 1)[0], scope))
    found = next((key for key in scope.parameters if key.lower() == name.lower()), None)
    if found is None:
        raise TemplateError(f"The template parameter '{name}' is not found.")
    return scope.parameters[found]


_LAZY: dict[str, Callable[[Call, Scope], Any]] = {
    "and": lambda node, scope: all(_value(one, scope) for one in node.arguments),
    "or": lambda node, scope: any(_value(one, scope) for one in node.arguments),
    "if": _if,
    "coalesce": _coalesce,
    "variables": _variable,
    "parameters": _parameter,
}
"""Functions that do not evaluate all of their arguments, or not first."""
