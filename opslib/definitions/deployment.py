"""A managed online deployment as its ``deployment.yml`` defines it."""

import os
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import StrEnum
from pathlib import Path
from typing import Any

import yaml

from opslib.definitions.source import Source, read_source
from opslib.definitions.violation import Severity, Violation
from opslib.errors import DefinitionError


class Serving(StrEnum):
    """What answers in a deployment's containers."""

    SCRIPT = "scoring script"
    MLFLOW = "MLflow model"
    TRITON = "Triton model"
    CONTAINER = "custom container"
    PACKAGE = "model package"


@dataclass(frozen=True)
class DeploymentDefinition:
    """A deployment's definition, with what the run gave filled in.

    Attributes
    ----------
    source
        The file's content and lines, replacements included.
    name, endpoint
        Names of the deployment and of its endpoint.
    model
        A registered model (``azureml:name:version``), a local path to upload, or "" where the environment has it.
    environment
        A registered environment, an image, or "" where the model brings its own.
    serving
        What answers: a script, an MLflow model, a container of its own, or a model package.
    converted
        Environment variables whose unquoted numbers and booleans were turned into text, as ``az`` does.
    """

    source: Source
    name: str
    endpoint: str
    model: str
    environment: str
    instance_type: str
    instance_count: int
    serving: Serving
    converted: tuple[str, ...] = ()

    @property
    def path(self) -> Path:
        """The file."""
        return self.source.path

    def violation(
        self, rule: str, field: str, seen: str, expected: str, fix: str, severity: Severity = Severity.ERROR
    ) -> Violation:
        """Return a broken rule at the line of a field."""
        return Violation(rule, field, self.source.line(field), seen, expected, fix, severity)

    def to_yaml(self) -> str:
        """Return the whole definition as YAML, for a reader that resolves paths relative to the file."""
        return yaml.safe_dump(dict(self.source.content), sort_keys=False)


def read_deployment(
    path: Path, endpoint: str, name: str = "", replacements: Mapping[str, Any] | None = None
) -> DeploymentDefinition:
    """Read a managed online deployment's definition.

    Parameters
    ----------
    path
        The ``deployment.yml``.
    endpoint
        The run's endpoint. It is used where the file has no ``endpoint_name``, as ``az`` uses ``--endpoint-name``.
    name
        The deployment's name where the file has none, as with ``az ... --name``.
    replacements
        Values that replace the file's own, by dotted name.

    Raises
    ------
    DefinitionError
        If it is not a managed online deployment's definition, or lacks a field that one needs.
    """
    source = read_source(path, replacements)
    _require_managed(source)
    source = _with_environment(source)
    content = dict(source.content)
    if content.get("endpoint_name") is None:
        content["endpoint_name"] = endpoint
    if name and content.get("name") is None:
        content["name"] = name
    variables, converted = _as_text(content.get("environment_variables"))
    if converted:
        content["environment_variables"] = variables
    source = replace(source, content=content)
    serving = _serving(source)
    _require(source, "name", "pass deployment=NAME, or add a line such as `name: green`")
    _require(source, "instance_type", "add a line such as `instance_type: Standard_DS3_v2`")
    if serving in {Serving.SCRIPT, Serving.MLFLOW}:
        _require(source, "model", "pass set with model=azureml:NAME:VERSION, or add `model:` with a path")
    return DeploymentDefinition(
        source=source,
        name=str(content["name"]),
        endpoint=str(content["endpoint_name"]),
        model=named(content.get("model")),
        environment=named(content.get("environment")),
        instance_type=str(content["instance_type"]),
        instance_count=_count(source),
        serving=serving,
        converted=converted,
    )


def is_address(value: Any) -> bool:
    """Return whether a value names something that is not on this machine: an asset, a run's model, an address."""
    return isinstance(value, str) and (value.startswith(("azureml:", "runs:")) or "://" in value)


def named(asset: Any) -> str:
    """Name a model or environment as a definition does: a reference, or the path or image of an inline one."""
    if isinstance(asset, Mapping):
        return str(asset.get("path") or asset.get("image") or asset.get("name") or "")
    return "" if asset is None else str(asset)


def _with_environment(source: Source) -> Source:
    """Read ``environment: file:PATH``; paths in that file are relative to its own folder."""
    value = source.get("environment")
    if not isinstance(value, str) or not value.startswith("file:"):
        return source
    included = read_source(source.local_path(value))
    environment = {name: one for name, one in included.content.items() if name != "$schema"}
    conda, build = environment.get("conda_file"), environment.get("build")
    if isinstance(conda, str) and not is_address(conda):
        environment["conda_file"] = os.path.relpath(included.local_path(conda), source.path.parent)
    if isinstance(build, Mapping) and isinstance(build.get("path"), str) and not is_address(build["path"]):
        path = os.path.relpath(included.local_path(build["path"]), source.path.parent)
        environment["build"] = {**build, "path": path}
    content = {**source.content, "environment": environment}
    return replace(source, content=content, included=(included.path,))


def _require_managed(source: Source) -> None:
    kind, schema = str(source.get("type") or ""), str(source.get("$schema") or "")
    if kind.lower() == "kubernetes" or "kubernetes" in schema.lower():
        raise DefinitionError(
            f"{source.path}:{source.line('type')}: this is a Kubernetes online deployment. opslib operates managed "
            "online deployments (type: managed)"
        )
    if "batch" in schema.lower() or kind.lower() in {"batch", "component"}:
        raise DefinitionError(
            f"{source.path}:{source.line('type')}: this is a batch deployment. opslib operates managed online "
            "deployments (type: managed)"
        )


def _require(source: Source, field: str, fix: str) -> None:
    if not source.get(field):
        raise DefinitionError(f"{source.path} has no {field}: {fix}")


def _count(source: Source) -> int:
    count = source.get("instance_count")
    if count is None:
        return 1  # Azure's default
    if (isinstance(count, float) and count.is_integer()) or (
        isinstance(count, str) and count.isascii() and count.isdigit()
    ):
        count = int(count)
    if not isinstance(count, int) or isinstance(count, bool) or count < 1:
        raise DefinitionError(
            f"{source.path}:{source.line('instance_count')}: instance_count must be a whole number of at least 1, "
            f"got {count!r}"
        )
    return count


def _serving(source: Source) -> Serving:
    """Return a definition's kind by the fields that it has, as Azure decides it."""
    if source.get("code_configuration"):
        return Serving.SCRIPT
    environment = source.get("environment")
    if str(source.get("model.type")).lower() == "triton_model" and not environment:
        return Serving.TRITON
    if isinstance(environment, Mapping) and environment.get("inference_config"):
        return Serving.CONTAINER
    if not source.get("model") and environment:
        return Serving.PACKAGE
    return Serving.MLFLOW


def _as_text(variables: Any) -> tuple[dict[str, Any], tuple[str, ...]]:
    """Turn numbers and booleans into the text that they were written as, as az's YAML reader does."""
    if not isinstance(variables, Mapping):
        return {}, ()
    changed = {
        str(name): str(value).lower() if isinstance(value, bool) else str(value)
        for name, value in variables.items()
        if isinstance(value, bool | int | float)
    }
    return {**{str(name): value for name, value in variables.items()}, **changed}, tuple(changed)
