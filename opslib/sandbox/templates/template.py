"""A template as the list of resources that it deploys, in no order yet.

Source: Microsoft Learn, "Understand the structure and syntax of ARM templates"; languageVersion 2.0 names each
resource by a symbol, as Bicep does.
"""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

from opslib.sandbox.templates.deployment_functions import joined
from opslib.sandbox.templates.evaluate import copies_of, resolve
from opslib.sandbox.templates.parameters import values_of
from opslib.sandbox.templates.scope import NeedsResource, Place, Scope, VariableLoop
from opslib.sandbox.templates.syntax import TemplateError

NESTED = "microsoft.resources/deployments"
_NOT_SENT = (
    *("apiVersion", "asserts", "comments", "condition", "copy", "dependsOn", "existing", "metadata", "name"),
    *("resourceGroup", "resources", "scope", "subscriptionId", "type"),
)


@dataclass(frozen=True)
class Planned:
    """One resource of a template.

    Attributes
    ----------
    body
        What is sent, its expressions not yet evaluated.
    scope
        What they may refer to, the turns of loops around the resource included.
    after
        Symbols, names, ids and loops that it depends on.
    names
        Under which of those it is known itself.
    existing
        Whether it is read only.
    wanted
        Whether its condition holds; its children have conditions of their own.
    """

    id: str
    kind: str
    api_version: str
    body: Mapping[str, Any]
    scope: Scope
    after: tuple[str, ...]
    names: tuple[str, ...]
    existing: bool = False
    wanted: bool = True

    @property
    def inner(self) -> bool:
        """Whether it is a nested deployment whose template evaluates its own expressions."""
        properties = self.body.get("properties")
        options = properties.get("expressionEvaluationOptions") if isinstance(properties, Mapping) else None
        scope = options.get("scope") if isinstance(options, Mapping) else None
        return self.kind.lower() == NESTED and str(scope).lower() == "inner"


@dataclass(frozen=True)
class Template:
    """A template with the values of its parameters."""

    resources: tuple[Planned, ...]
    outputs: Mapping[str, Any]
    scope: Scope


def read_template(template: Mapping[str, Any], sent: Mapping[str, Any], place: Place) -> Template:
    """Return the resources that a template deploys with these parameters.

    Raises
    ------
    TemplateError
        If Azure Resource Manager would refuse it.
    """
    from opslib.sandbox.templates.shape import check_shape  # noqa: PLC0415 - only here: it imports msgspec

    check_shape(template, sent)
    if template.get("functions"):
        raise TemplateError(
            "The sandbox does not have a template's own functions: write the expression where it is used."
        )
    try:
        return _read(template, sent, place)
    except NeedsResource as needed:
        function = needed.action or "reference"
        raise TemplateError(
            f"The template function '{function}' is not expected at this location: names, conditions, counts of "
            "copies, dependencies and parameters must be known before anything is deployed."
        ) from needed
    except RecursionError as error:
        raise TemplateError("The template is nested too deep.") from error


def _read(template: Mapping[str, Any], sent: Mapping[str, Any], place: Place) -> Template:
    variables = _variables(template.get("variables") or {})
    values = values_of(template.get("parameters") or {}, sent, place)
    scope = Scope(place, values, variables)
    resources = tuple(_all(template["resources"], scope, place.scope))
    known: dict[str, str] = {}
    for one in resources:
        for name in one.names:
            known.setdefault(name, one.id)
    _check_unique(resources)
    resources = tuple(replace(one, scope=replace(one.scope, known=known)) for one in resources)
    return Template(resources, template.get("outputs") or {}, replace(scope, known=known))


def _variables(declared: Mapping[str, Any]) -> dict[str, Any]:
    found: dict[str, Any] = {name: value for name, value in declared.items() if name != "copy"}
    return found | {loop["name"]: VariableLoop(loop) for loop in declared.get("copy") or ()}


def _all(resources: Any, scope: Scope, base: str, parent: Planned | None = None) -> Iterator[Planned]:
    """Yield the resources, in each turn of their loops, and those inside of them."""
    pairs = resources.items() if isinstance(resources, Mapping) else (("", one) for one in resources)
    for symbol, resource in pairs:
        for turn, loop in _turns(resource, scope):
            planned = _one(symbol, resource, turn, base, parent, loop)
            yield planned
            yield from _all(resource.get("resources") or (), turn, base, planned)


def _turns(resource: Mapping[str, Any], scope: Scope) -> Iterator[tuple[Scope, str]]:
    loop = resource.get("copy")
    if not isinstance(loop, Mapping):
        yield scope, ""
        return
    name = str(loop.get("name", ""))
    for index in range(copies_of(loop.get("count"), scope, name)):
        yield scope.at(name, index), name


def _one(
    symbol: str, resource: Mapping[str, Any], scope: Scope, base: str, parent: Planned | None, loop: str
) -> Planned:
    kind, name = str(resource["type"]), str(resolve(resource.get("name"), scope))
    if parent is not None:
        if "/providers/" not in parent.id:
            raise TemplateError(
                f"The resource '{parent.id}' cannot have resources inside: give them a resourceGroup."
            )
        kind = f"{parent.kind}/{kind}" if "." not in kind.split("/", maxsplit=1)[0] else kind
        prefix = parent.id.split("/providers/", 1)[1].split("/")[2::2]
        name = "/".join([*prefix, name]) if kind.startswith(f"{parent.kind}/") else name
    on = resolve(resource.get("scope"), scope)
    where = _place_of(resource, scope).scope if on is None else _absolute(str(on), base)
    resource_id = f"{where}/providers/{joined(kind, name.split('/'))}"
    if kind.lower() == "microsoft.resources/resourcegroups":
        resource_id = f"/subscriptions/{scope.place.subscription}/resourceGroups/{name}"
    after = [str(one).lower() for one in _list(resolve(resource.get("dependsOn") or [], scope))]
    if parent is not None:
        after.append(parent.id.lower())
    names = (symbol.lower(), loop.lower(), name.lower(), f"{kind}/{name}".lower(), resource_id.lower())
    body = {key: value for key, value in resource.items() if key not in _NOT_SENT}
    version = str(resolve(resource.get("apiVersion") or "", scope))
    return Planned(
        resource_id,
        kind,
        version,
        body,
        scope,
        tuple(after),
        tuple(one for one in names if one),
        bool(resource.get("existing")),
        bool(resolve(resource.get("condition", True), scope)),
    )


def _list(value: Any) -> list[Any]:
    if not isinstance(value, list):
        raise TemplateError(f"The value of 'dependsOn' must be an array, got {type(value).__name__}.")
    return value


def _absolute(on: str, base: str) -> str:
    """Return the id that a resource extends: a whole one, or one relative to the deployment's group."""
    return on if on.startswith("/") else f"{base}/providers/{on}"


def _place_of(resource: Mapping[str, Any], scope: Scope) -> Place:
    """Return where a resource goes: a nested deployment may name another group or subscription."""
    place = scope.place
    if resource.get("subscriptionId"):
        place = replace(place, subscription=str(resolve(resource["subscriptionId"], scope)), group="")
    if resource.get("resourceGroup"):
        place = replace(place, group=str(resolve(resource["resourceGroup"], scope)))
    return place


def _check_unique(resources: tuple[Planned, ...]) -> None:
    seen: set[str] = set()
    for one in resources:
        if not one.wanted or one.existing:
            continue
        if one.id.lower() in seen:
            raise TemplateError(
                f"The resource '{one.id}' at line '1' and column '1' is defined multiple times in a template. "
                "Please see https://aka.ms/arm-syntax-resources for usage details."
            )
        seen.add(one.id.lower())
