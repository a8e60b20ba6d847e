"""Rules for the form of what a definition nests: fields without a value, fields of models and environments.

Source: azure-ai-ml 1.35: its schemas refuse a null anywhere and what they do not list
(`ManagedOnlineDeploymentSchema`, `AnonymousModelSchema`, `AnonymousEnvironmentSchema`, `DataCollectorSchema`), and
`Environment.validate`.
"""

import re
from collections.abc import Iterator, Mapping
from typing import Any

from opslib.definitions.deployment import DeploymentDefinition, is_address
from opslib.definitions.violation import Severity, Violation, fix_name

_ASSET = frozenset({"$schema", "name", "version", "description", "tags", "creation_context", "latest_version"})
_FIELDS = {
    "model": _ASSET
    | {"id", "type", "path", "properties", "stage", "utc_time_created", "flavors", "job_name", "datastore"}
    | {"intellectual_property", "system_metadata", "default_deployment_template", "allowed_deployment_templates"},
    "environment": _ASSET
    | {"id", "build", "image", "conda_file", "inference_config", "os_type", "datastore"}
    | {"auto_delete_setting", "intellectual_property"},
    "environment.build": frozenset({"path", "dockerfile_path"}),
    "data_collector": frozenset({"collections", "rolling_rate", "sampling_rate", "request_logging"}),
}
MODEL_TYPES = ("custom_model", "mlflow_model", "triton_model")
ROLLING_RATES = ("minute", "hour", "day")
_TEXTS = frozenset({"tags", "properties", "environment_variables", "environment.conda_file"})
"""Sections whose values other rules check, or that are sent as they are."""

_REGISTRY = re.compile(r"azureml://registries/[^/]+/(?P<kind>[^/]+)/[^/:@]+/(versions|labels)/[^/:@]+")
_KINDS = {"model": "models", "environment": "environments"}


def check_empty(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Values: a field without a value is refused, also an empty section such as ``tags:``."""
    for field in empty_fields(definition.source.content):
        fix = "Give it a value, or remove the line."
        yield definition.violation("empty", field, "without a value", "a value", fix)


def check_forms(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Sections: each is a mapping; model and environment may be a reference in its place."""
    for section in ("model", "environment", "code_configuration", "data_collector"):
        value = definition.source.get(section)
        named = isinstance(value, str) and section in _KINDS
        if value is not None and not named and not isinstance(value, Mapping):
            expected = "a mapping of fields, or a reference" if section in _KINDS else "a mapping of fields"
            yield definition.violation("form", section, repr(value), expected, "Correct it.")


def check_nested_fields(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Fields of the model, the environment and the data collector: azure-ai-ml refuses what it does not know."""
    for section, known in _FIELDS.items():
        values = definition.source.get(section)
        for field in values if isinstance(values, Mapping) else ():
            if field not in known:
                expected, fix = f"a field of {section}", fix_name(field, known)
                if (section, field) == ("environment", "docker"):
                    fix = "Write image at the environment itself: environment: {image: IMAGE}."
                yield definition.violation("unknown-field", f"{section}.{field}", "not known", expected, fix)


def check_model(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Model: of a known type; with a path, and with a name where its path is an address."""
    model = definition.source.get("model")
    if not isinstance(model, Mapping):
        return
    kind, path = model.get("type"), model.get("path")
    if kind is not None and str(kind).lower() not in MODEL_TYPES:
        fix = fix_name(kind, MODEL_TYPES)
        yield definition.violation("model", "model.type", repr(kind), f"one of {', '.join(MODEL_TYPES)}", fix)
    if not path:
        fix = "Add path: PATH. A registered model is azureml:NAME:VERSION, in place of the mapping."
        yield definition.violation("model", "model", "without a path", "path beside the name", fix)
    elif is_address(path) and not model.get("name"):
        expected = "name and version beside an address: azure-ai-ml names a model without one by its local files"
        yield definition.violation("model", "model.path", repr(path), expected, "Add name and version.")


def check_image(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Image: an inline environment has an image or a build context, not both; its routes have a port and a path."""
    environment = definition.source.get("environment")
    if not isinstance(environment, Mapping):
        return
    given = [name for name in ("image", "build") if environment.get(name)]
    if len(given) != 1 and "docker" not in environment:
        seen = "with image and build" if given else "without image and build"
        fix = "Remove one." if given else "Add image: IMAGE. A registered environment is azureml:NAME:VERSION."
        yield definition.violation("environment", "environment", seen, "one of image and build", fix)
    conda = environment.get("conda_file")
    if conda is not None and (not isinstance(conda, str | Mapping) or str(conda).startswith("file:")):
        seen = repr(conda) if isinstance(conda, str) else type(conda).__name__
        expected = "a path without file:, or a mapping with dependencies"
        yield definition.violation("conda", "environment.conda_file", seen, expected, "Correct it.")
    config = environment.get("inference_config")
    for route, value in (config if isinstance(config, Mapping) else {}).items():
        if isinstance(value, Mapping) and not _is_route(value):
            field, expected = f"environment.inference_config.{route}", "{port: NUMBER, path: PATH}"
            yield definition.violation("environment", field, repr(dict(value)), expected, "Correct it.")


def check_collector_form(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Data collector: it names collections; its rolling rate is a word of the service's."""
    collector = definition.source.get("data_collector")
    if not isinstance(collector, Mapping):
        return
    if not isinstance(collector.get("collections"), Mapping):
        fix = 'Add collections: {model_inputs: {enabled: "true"}}.'
        yield definition.violation("data-collector", "data_collector", "without collections", "collections", fix)
    rate = collector.get("rolling_rate")
    if rate is not None and str(rate).lower() not in ROLLING_RATES:
        expected, field = f"one of {', '.join(ROLLING_RATES)}", "data_collector.rolling_rate"
        yield definition.violation("data-collector", field, repr(rate), expected, "Correct it.")


def check_registry_references(definition: DeploymentDefinition) -> Iterator[Violation]:
    """References to a registry: an asset of its kind, by /versions/ or /labels/."""
    for field, kind in _KINDS.items():
        value = definition.source.get(field)
        if not isinstance(value, str) or not value.startswith("azureml://registries/"):
            continue
        found = _REGISTRY.fullmatch(value)
        if found is None or found["kind"] != kind:
            form = f"azureml://registries/REGISTRY/{kind}/NAME/versions/VERSION"
            fix = f"Write {form}, or /labels/latest in place of the version."
            yield definition.violation("reference", field, repr(value), form, fix)


def check_mount(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Mount path: absolute, and of use only to a container of its own (how-to-deploy-custom-container.md)."""
    path = definition.source.get("model_mount_path")
    if not isinstance(path, str):
        return
    if not path.startswith("/"):
        fix = f"Write /{path}."
        yield definition.violation(
            "mount", "model_mount_path", repr(path), "an absolute path in the container", fix
        )
    environment = definition.source.get("environment")
    if isinstance(environment, Mapping) and not environment.get("inference_config"):
        expected = "an environment with inference_config: only a container of its own has use for it"
        fix = "Remove it, or add inference_config."
        yield definition.violation("mount", "model_mount_path", repr(path), expected, fix, Severity.WARNING)


def empty_fields(values: Mapping[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of fields without a value."""
    for name, value in values.items():
        field = f"{prefix}{name}"
        if value is None:
            yield field
        elif isinstance(value, Mapping) and field not in _TEXTS:
            yield from empty_fields(value, f"{field}.")


def _is_route(value: Mapping[str, Any]) -> bool:
    port = value.get("port")
    number = isinstance(port, int) or (isinstance(port, str) and port.isascii() and port.isdigit())
    return (
        set(value) == {"port", "path"} and number and not isinstance(port, bool) and isinstance(value["path"], str)
    )
