"""Rules for what a deployment consists of: model, code, scoring script and environment."""

import ast
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from opslib.definitions.deployment import DeploymentDefinition, Serving, is_address
from opslib.definitions.violation import Severity, Violation, fix_name

_ROUTES = ("scoring_route", "liveness_route", "readiness_route")
_CODE_FIELDS = ("code", "scoring_script")


def is_local(value: Any) -> bool:
    """Return whether a value is a local path: not a reference to an asset, and no address."""
    return isinstance(value, str) and bool(value) and not is_address(value)


def check_references(definition: DeploymentDefinition) -> Iterator[Violation]:
    """References: a registered asset begins with azureml:, a local model is given by its path."""
    for field, inline in (("model", "model: {path: PATH}"), ("environment", "environment: {image: IMAGE}")):
        value = definition.source.get(field)
        if not is_local(value) or (field == "model" and not _is_there(definition, value)):
            continue  # a model that is not there is named by the rule of files
        expected = f"azureml:NAME:VERSION, or {inline}"
        if value.startswith("/subscriptions/"):
            fix = f"Write azureml:{value}."
            yield definition.violation("reference", field, repr(value), f"azureml:{value}", fix)
            continue
        fix = f"Write {inline.replace('PATH', value).replace('IMAGE', value)}, or azureml: before a registered one."
        yield definition.violation("reference", field, repr(value), expected, fix)


def check_environment(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Environment and code: a container of its own has three routes; no field is unknown."""
    code = definition.source.get("code_configuration")
    if isinstance(code, Mapping):
        for field in code.keys() - set(_CODE_FIELDS):
            expected = f"one of {', '.join(_CODE_FIELDS)}"
            name = f"code_configuration.{field}"
            yield definition.violation("unknown-field", name, "not known", expected, fix_name(field, _CODE_FIELDS))
    config = definition.source.get("environment.inference_config")
    missing = [route for route in _ROUTES if not (isinstance(config, Mapping) and config.get(route))]
    if config and missing:
        seen, field = f"without {', '.join(missing)}", "environment.inference_config"
        fix = "Add each as {port: PORT, path: PATH}."
        yield definition.violation("environment", field, seen, ", ".join(_ROUTES), fix)


def check_files(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Files: code folder, scoring script, conda file, build context and local model are there."""
    source = definition.source
    code, script = source.get("code_configuration.code"), source.get("code_configuration.scoring_script")
    if definition.serving is Serving.SCRIPT and not script:
        expected = "the script's path in the code folder"
        yield definition.violation("file", "code_configuration.scoring_script", "missing", expected, "Name it.")
    if is_local(code):
        folder = source.local_path(code)
        if not folder.is_dir():
            yield _missing(definition, "code_configuration.code", code, "a folder")
        elif script and not (folder / str(script)).is_file():
            yield _missing(definition, "code_configuration.scoring_script", str(script), f"a file in {code}")
    for field in ("model", "model.path", "environment.conda_file", "environment.build.path"):
        value = source.get(field)
        by_id = isinstance(value, str) and value.startswith("/subscriptions/")  # named by the rule of references
        if is_local(value) and not by_id and not source.local_path(value).exists():
            yield _missing(definition, field, value, "a file or folder")
    model = source.get("model.path")
    is_mlflow = str(source.get("model.type")).lower() == "mlflow_model"
    local = is_mlflow and is_local(model) and source.local_path(model).is_dir()
    if local and not (source.local_path(model) / "MLmodel").is_file():
        expected = "a folder with an MLmodel file, as mlflow saves it"
        yield definition.violation("file", "model.path", repr(model), expected, "Name the model's own folder.")


def check_script(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Scoring script and conda file: they can be read; the script defines init and run."""
    source = definition.source
    code, script = source.get("code_configuration.code"), source.get("code_configuration.scoring_script")
    if is_local(code) and script and (path := source.local_path(code) / str(script)).is_file():
        yield from _check_python(definition, path)
    conda = source.get("environment.conda_file")
    if is_local(conda) and (path := source.local_path(conda)).is_file():
        yield from _check_conda(definition, path)


def check_pinned(definition: DeploymentDefinition) -> Iterator[Violation]:
    """Versions: a label or a mutable image tag names another version tomorrow."""
    for field, value in (("model", definition.model), ("environment", definition.environment)):
        if value.startswith("azureml:") and ("@" in value or value.rstrip("/").endswith("/labels/latest")):
            expected = "a version, such as azureml:name:3"
            fix = "Pin the version that you tested."
            yield definition.violation("pinned", field, value, expected, fix, Severity.WARNING)
    image = definition.source.get("environment.image")
    if isinstance(image, str) and (image.endswith(":latest") or ":" not in image.rpartition("/")[2]):
        expected = "an image by version or digest"
        fix = "Pin the tag or the digest: the service may pull another image for the next instance."
        yield definition.violation("pinned", "environment.image", image, expected, fix, Severity.WARNING)


def _check_python(definition: DeploymentDefinition, path: Path) -> Iterator[Violation]:
    field = "code_configuration.scoring_script"
    try:
        tree = ast.parse(path.read_bytes(), str(path))
    except (SyntaxError, ValueError) as error:
        seen = f"not Python: {error.msg} (line {error.lineno})" if isinstance(error, SyntaxError) else str(error)
        yield definition.violation(
            "script", field, f"{path.name}, {seen}", "a Python script", "Correct the script."
        )
        return
    defined = {name for node in ast.walk(tree) for name in _names(node)}
    if tree.body and not defined & {"run", "*"}:
        expected, fix = "a script with run", "Define init() and run(data): the inference server calls them."
        yield definition.violation("script", field, f"{path.name}, without run", expected, fix, Severity.WARNING)


def _names(node: ast.AST) -> Iterator[str]:
    """Yield the names that a statement defines: functions, imports, assignments."""
    match node:
        case ast.FunctionDef(name=name) | ast.AsyncFunctionDef(name=name):
            yield name
        case ast.alias(name=name, asname=asname):
            yield asname or name
        case ast.Name(id=name, ctx=ast.Store()):
            yield name


def _check_conda(definition: DeploymentDefinition, path: Path) -> Iterator[Violation]:
    field, expected = "environment.conda_file", "a mapping with dependencies"
    try:
        content = yaml.safe_load(path.read_text(encoding="utf-8-sig"))
    except (yaml.YAMLError, ValueError) as error:
        seen = f"{path.name}, not YAML: {str(error).splitlines()[0]}"
        yield definition.violation("conda", field, seen, expected, "Correct the file.")
        return
    if content is not None and not isinstance(content, Mapping):
        seen = f"{path.name}, {type(content).__name__}"
        yield definition.violation("conda", field, seen, expected, "Correct the file.")


def _is_there(definition: DeploymentDefinition, value: str) -> bool:
    return value.startswith("/subscriptions/") or definition.source.local_path(value).exists()


def _missing(definition: DeploymentDefinition, field: str, value: str, what: str) -> Violation:
    where = definition.source.local_path(value)
    seen = f"{value!r}, which is not there ({where})"
    fix = "Correct the path: it is relative to the definition."
    forward = value.replace("\\", "/")
    if forward != value:
        fix = f"Write it with forward slashes, which work everywhere: {forward}."
    elif value.count(":") == 1 and "/" not in value and field == "model":
        fix = f"A registered model is azureml:{value}."
    return definition.violation("file", field, seen, what, fix)
