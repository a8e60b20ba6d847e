"""The functions of templates that depend on the deployment, its place and its resources.

Source: Microsoft Learn, "ARM template functions": resource, scope and deployment functions.
"""

import uuid
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any

from opslib.sandbox.arm.principals import TENANT_ID
from opslib.sandbox.core.clock import iso_now
from opslib.sandbox.templates.scope import NeedsResource, Scope
from opslib.sandbox.templates.syntax import TemplateError


def _resource_id(scope: Scope, arguments: list[Any]) -> str:
    """Return `resourceId([subscription], [group], type, name, ...)`."""
    before, kind, names = _split_at_type([str(one) for one in arguments])
    place = scope.place
    if len(before) > 1 or (before and not place.group):
        place = replace(place, subscription=before[0])
    if before and (place.group or len(before) > 1):
        place = replace(place, group=before[-1])
    return f"{place.scope}/providers/{joined(kind, names)}"


def _split_at_type(arguments: list[str]) -> tuple[list[str], str, list[str]]:
    at = next((number for number, one in enumerate(arguments) if "/" in one), None)
    if at is None:
        raise TemplateError("resourceId: expected a resource type with a '/' among the arguments.")
    return arguments[:at], arguments[at], arguments[at + 1 :]


def joined(kind: str, names: list[str]) -> str:
    """Return `provider/type/name/subtype/name`.

    Raises
    ------
    TemplateError
        If a name is missing or one too many.
    """
    provider, *types = kind.split("/")
    if len(types) != len(names):
        raise TemplateError(
            f"The template resource '{'/'.join(names)}' for type '{kind}' at line '1' and column '1' has incorrect "
            "segment lengths. A nested resource type must have identical number of segments as its resource name. "
            "A root resource type must have segment length one greater than its resource name."
        )
    return "/".join([provider, *(part for pair in zip(types, names, strict=True) for part in pair)])


def _extension_id(base: str, arguments: list[Any]) -> str:
    kind, *names = map(str, arguments)
    return f"{base}/providers/{joined(kind, names)}"


def _subscription_id(scope: Scope, arguments: list[Any]) -> str:
    before, kind, names = _split_at_type([str(one) for one in arguments])
    return f"/subscriptions/{before[0] if before else scope.place.subscription}/providers/{joined(kind, names)}"


def _reference(scope: Scope, arguments: list[Any]) -> Any:
    full = len(arguments) > 2 and str(arguments[2]).lower() == "full"
    answer = read(scope, str(arguments[0]), arguments, "")
    return answer if full else answer.get("properties", {})


def read(scope: Scope, named: str, arguments: list[Any], action: str) -> Mapping[str, Any]:
    """Return what a resource answered to a GET, or to a POST of `action`.

    Raises
    ------
    NeedsResource
        If it was not read yet.
    """
    wanted = named if named.startswith("/") else scope.known.get(named.lower(), "")
    if not wanted:
        raise TemplateError(f"The resource '{named}' is not defined in the template.")
    answer = scope.read.get((wanted.lower(), action))
    if answer is None:
        raise NeedsResource(wanted, str(arguments[1]) if len(arguments) > 1 else "", action)
    return answer


def _copy_index(scope: Scope, arguments: list[Any]) -> int:
    name = next((one.lower() for one in arguments if isinstance(one, str)), "")
    if name not in scope.copies:
        raise TemplateError("The template function 'copyIndex' is not expected at this location: it is in no loop.")
    return scope.copies[name] + next((one for one in arguments if isinstance(one, int)), 0)


def _group(scope: Scope, arguments: list[Any]) -> dict[str, Any]:
    place = scope.place
    if not place.group and not arguments:
        raise TemplateError("The template function 'resourceGroup' is not expected in a subscription's deployment.")
    return {
        "id": place.scope,
        "name": place.group,
        "type": "Microsoft.Resources/resourceGroups",
        "location": place.location,
        "tags": {},
        "properties": {"provisioningState": "Succeeded"},
    }


def _subscription(scope: Scope, arguments: list[Any]) -> dict[str, Any]:
    del arguments
    name = scope.place.subscription
    return {"id": f"/subscriptions/{name}", "subscriptionId": name, "tenantId": TENANT_ID, "displayName": "sandbox"}


OF_DEPLOYMENT: dict[str, Callable[[Scope, list[Any]], Any]] = {
    "copyindex": _copy_index,
    "deployment": lambda scope, _: {"name": scope.place.deployment, "location": scope.place.location},
    "environment": lambda _scope, _: {"name": "AzureCloud"},
    "extensionresourceid": lambda _, arguments: _extension_id(str(arguments[0]).rstrip("/"), arguments[1:]),
    "newguid": lambda _scope, _: str(uuid.uuid4()),
    "reference": _reference,
    "resourcegroup": _group,
    "resourceid": _resource_id,
    "subscription": _subscription,
    "subscriptionresourceid": _subscription_id,
    "tenant": lambda _scope, _: {"tenantId": TENANT_ID},
    "tenantresourceid": lambda _, arguments: _extension_id("", arguments),
    "utcnow": lambda _scope, _: iso_now(),
}
"""Functions of the deployment, its place and its resources."""
