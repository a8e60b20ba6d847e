"""Assets as deployments refer to them: ARM ids, registries, names with a version or a label, curated environments.

azure-ai-ml sends what it does not resolve itself as it was typed: every reference to a registry, and the names of
curated environments (`OperationOrchestrator.get_asset_arm_id`).
"""

import re
from dataclasses import dataclass
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.instances.curated import REGISTRY, WELL_KNOWN, Curated, find_curated, is_curated_name

_REGISTRY = re.compile(
    r"azureml://registries/(?P<registry>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)/(?P<by>versions|labels)/(?P<which>[^/]+)",
    re.IGNORECASE,
)
_NAME = re.compile(r"(?:azureml:)?(?P<name>[^:@/]+)(?::(?P<version>[^:@/]+)|@(?P<label>[^:@/]+))")
_WORKSPACE = re.compile(
    r"azureml://locations/[^/]+/workspaces/(?P<id>[^/]+)/(?P<kind>[^/]+)/(?P<name>[^/]+)/versions/(?P<which>[^/]+)",
    re.IGNORECASE,
)
_PREFIX = re.compile(r"azureml:/*(?=subscriptions/)", re.IGNORECASE)
_LABELLED = re.compile(r"(?P<container>/subscriptions/.+)/labels/(?P<label>[^/]+)", re.IGNORECASE)


@dataclass(frozen=True)
class Wanted:
    """A version, or what a label names, of an asset in a container."""

    reference: str
    kind: str
    name: str
    version: str = ""
    label: str = ""


def find_asset(store: Store, reference: str, kind: str, workspace: str) -> Resource:
    """Return the version that a reference names now.

    Raises
    ------
    ArmError
        400 if there is none; 501 if it is content of Microsoft's that is not on this machine.
    """
    if match := _REGISTRY.fullmatch(reference):
        wanted = Wanted(reference, match["kind"].lower(), match["name"], **_which(match["by"], match["which"]))
        return _of_registry(store, match["registry"], wanted, kind)
    if match := _WORKSPACE.fullmatch(reference):
        return _version(store, workspace, Wanted(reference, kind, match["name"], match["which"]))
    arm_id = _PREFIX.sub("/", reference)
    if match := _LABELLED.fullmatch(arm_id):
        container = match["container"]
        wanted = Wanted(reference, kind, ids.name(container), label=match["label"])
        return _version(store, ids.parent(container), wanted)
    if arm_id.startswith("/"):
        found = store.get(arm_id)
        if found is None or found.kind != f"{kind}/versions":
            raise _not_found(reference)
        return found
    match = _NAME.fullmatch(reference)
    if match is None:
        raise _not_found(reference)
    wanted = Wanted(reference, kind, match["name"], match["version"] or "", match["label"] or "")
    if kind == "environments" and is_curated_name(wanted.name):
        return curated_version(wanted)
    return _version(store, workspace, wanted)


def as_reference(asset_id: str | None) -> str | None:
    """Return an asset's id as deployments show it: of a registry, in the form by which it is referred to.

    Examples
    --------
    >>> as_reference("/subscriptions/s/providers/P/registries/hub/models/m/versions/1")
    'azureml://registries/hub/models/m/versions/1'
    """
    if asset_id is None or asset_id.startswith("azureml:"):
        return asset_id
    _, registries, rest = asset_id.partition("/registries/")
    return f"azureml://registries/{rest}" if registries else asset_id


def registry_named(store: Store, name: str) -> Resource | None:
    """Return a registry of one's own; names are unique in a region."""
    return next((one for one in store.all("registries") if one.name.lower() == name.lower()), None)


def curated_version(wanted: Wanted) -> Resource:
    """Return a curated environment's version as a resource of Microsoft's registry.

    Raises
    ------
    ArmError
        501 if the catalogue has none of that name.
    """
    one = find_curated(wanted.name)
    if one is None:
        raise not_here(f"the curated environment '{wanted.name}'")
    if wanted.label and wanted.label.lower() != "latest":
        raise _no_label(wanted)
    return curated_resource(one, wanted.version or one.version)


def curated_resource(one: Curated, version: str) -> Resource:
    """Return a version of a curated environment."""
    properties: dict[str, Any] = {
        "image": one.image,
        "condaFile": "",
        "environmentType": "Curated",
        "osType": "Linux",
        "isArchived": False,
        "isAnonymous": False,
        "tags": {},
        "properties": {},
        "provisioningState": "Succeeded",
    }
    times = {"createdAt": "2024-01-01T00:00:00+00:00", "lastModifiedAt": "2024-01-01T00:00:00+00:00"}
    body = {"systemData": {**times, "createdBy": "Microsoft", "createdByType": "Application"}}
    return Resource(
        f"azureml://registries/{REGISTRY}/environments/{one.name}/versions/{version}",
        "environments/versions",
        {**body, "properties": properties},
        sequence=1,
    )


def not_here(what: str) -> ArmError:
    """Return the refusal of content that Azure has and this machine has not."""
    return ArmError.not_runnable(
        f"The sandbox does not have {what}: it is Microsoft's, and not on this machine. Use Azure for it, or "
        "register a copy of your own in the workspace or in a registry of yours, and refer to that."
    )


def _of_registry(store: Store, registry: str, wanted: Wanted, kind: str) -> Resource:
    if wanted.kind != kind:
        raise ArmError.validation(
            kind, f"'{wanted.reference}' is one of the registry's {wanted.kind}, expected one of its {kind}."
        )
    own = registry_named(store, registry)
    if own is not None:
        return _version(store, own.id, wanted)
    if registry.lower() == REGISTRY and kind == "environments":
        return curated_version(wanted)
    if registry.lower() in WELL_KNOWN:
        raise not_here(f"{wanted.kind.removesuffix('s')} '{wanted.name}' of the registry '{registry}'")
    raise ArmError.validation(
        kind, f"The registry '{registry}' of '{wanted.reference}' was not found: create it, or correct its name."
    )


def _which(by: str, which: str) -> dict[str, str]:
    return {"version" if by.lower() == "versions" else "label": which}


def _version(store: Store, scope: str, wanted: Wanted) -> Resource:
    container = f"{scope}/{wanted.kind}/{wanted.name}"
    if wanted.version:
        found = store.get(f"{container}/versions/{wanted.version}")
    elif wanted.label.lower() != "latest":
        raise _no_label(wanted)
    else:
        listed = store.children(container, f"{wanted.kind}/versions")
        shown = [one for one in listed if not (one.properties["isArchived"] or one.properties["isAnonymous"])]
        found = shown[-1] if shown else None
    if found is None or found.kind != f"{wanted.kind}/versions":
        raise _not_found(wanted.reference)
    return found


def _not_found(reference: str) -> ArmError:
    return ArmError.validation(
        "Asset", f"The asset '{reference}' was not found: register it, or correct the deployment's reference."
    )


def _no_label(wanted: Wanted) -> ArmError:
    return ArmError.validation(
        "Asset", f"The label '{wanted.label}' of '{wanted.reference}' is not known: use a version, or latest."
    )
