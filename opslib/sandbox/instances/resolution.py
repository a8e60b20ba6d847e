"""From a deployment's references to what its instances run: files of its code and model, and their server."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import parse_duration_s
from opslib.sandbox.instances import containers
from opslib.sandbox.instances.containers import Container, Runtime
from opslib.sandbox.instances.curated import Curated, find_curated, version_notes
from opslib.sandbox.instances.payload import APP, Payload
from opslib.sandbox.instances.probes import read_probes
from opslib.sandbox.instances.references import find_asset
from opslib.sandbox.instances.requirements import differences, named_packages
from opslib.sandbox.storage.blob_files import locate

Files = tuple[tuple[str, str], ...]


def resolve(store: Store, runtime: Runtime, deployment: Resource) -> Payload:
    """Find the assets that a deployment refers to, and what runs it here.

    Raises
    ------
    ArmError
        If an asset does not exist, or nothing on this machine can run the deployment.
    """
    properties = deployment.properties
    workspace = ids.parent(ids.parent(deployment.id))
    environment = _find(store, properties.get("environmentId"), "environments", workspace)
    packaged = environment.internal.get("package") or {} if environment is not None else {}
    model = _find(store, properties.get("model") or packaged.get("model"), "models", workspace)
    code = properties.get("codeConfiguration") or packaged.get("codeConfiguration") or {}
    curated = find_curated(_name(environment)) if environment is not None and _is_curated(environment) else None
    container = _container(runtime, model, environment, has_code=bool(code.get("codeId")))
    script, files, own_files = _script(store, code, model, workspace) if container is None else (Path(APP), (), ())
    mount, model_dir, model_files = _model(store, properties.get("modelMountPath"), model)
    notes = [f"Downloading {blob.rsplit('/', 1)[-1]} to /{target}" for blob, target in (*files, *model_files)]
    variables = (packaged.get("environmentVariables") or {}) | (properties.get("environmentVariables") or {})
    return Payload(
        deployment=deployment.id,
        files=(*files, *model_files),
        own_files=own_files,
        app_root=str(script.parent) if container is None else APP,
        entry_script=script.name if container is None else "",
        model_dir=model_dir,
        variables=tuple(sorted(variables.items())),
        notes=(*notes, *_environment_notes(environment, container, curated)),
        capacity=int(deployment.body["sku"]["capacity"]),
        concurrency=int(properties["requestSettings"]["maxConcurrentRequestsPerInstance"]),
        timeout_s=parse_duration_s(properties["requestSettings"]["requestTimeout"]),
        probes=read_probes(properties),
        mount=mount,
        container=container,
        packages=named_packages(_conda_file(environment)),
        missing=curated.missing if curated is not None else (),
        model=model.id if model is not None else None,
        environment=environment.id if environment is not None else None,
    )


def _find(store: Store, reference: Any, kind: str, workspace: str) -> Resource | None:
    return find_asset(store, str(reference), kind, workspace) if reference else None


def _container(
    runtime: Runtime, model: Resource | None, environment: Resource | None, *, has_code: bool
) -> Container | None:
    """Return what runs a deployment that brings its own server; None for one that the inference server serves.

    One with code runs in the inference server, unless the image map declares a command for its image.
    """
    routes = containers.read_routes(environment)
    image = containers.image_of(environment) if environment is not None else ""
    kind = str(model.properties.get("modelType")) if model is not None else ""
    if kind == "triton_model" and environment is None and not has_code:
        return runtime.container(containers.TRITON, containers.TRITON_ROUTES, pullable=False)
    if environment is not None and (has_code or kind == "mlflow_model"):
        own = bool(environment.properties.get("inferenceConfig")) and not has_code
        return runtime.container(image, routes) if own or runtime.has_local(image) else None
    if has_code or kind == "mlflow_model":
        return None
    if environment is None:
        raise ArmError.validation(
            "Environment",
            "The deployment has no code and no environment, and its model is no MLflow or Triton model: give it a "
            "codeConfiguration, or an environment whose image serves the model.",
        )
    return runtime.container(image, routes, pullable=bool(environment.properties.get("image")))


def _script(
    store: Store, code: dict[str, Any], model: Resource | None, workspace: str
) -> tuple[Path, Files, Files]:
    """Return the scoring script, the code's files, and what the sandbox adds: an MLflow model needs no code."""
    if not code.get("codeId"):
        assert model is not None  # a deployment without code that is no container has an MLflow model
        script = Path(f"{APP}/mlflow/mlflow_score.py")
        return script, (), ((str(Path(__file__).with_name("mlflow_score.py")), str(script)),)
    if not isinstance(code.get("scoringScript"), str):
        raise ArmError.validation(
            "CodeConfiguration", "The codeConfiguration lacks its scoringScript: name the file in the code asset."
        )
    code_asset = find_asset(store, str(code["codeId"]), "codes", workspace)
    code_folder = ids.name(locate(code_asset.properties["codeUri"], _workspace(code_asset)))
    script = Path(f"{APP}/{_safe(code_folder)}/{_safe(code['scoringScript'])}")
    files = _files(store, code_asset, "codeUri", f"{APP}/{_safe(code_folder)}")
    if str(script) not in {target for _, target in files}:
        raise ArmError.validation(
            "CodeConfiguration",
            f"The scoring script '{code['scoringScript']}' is not in the code asset, which holds: "
            f"{', '.join(sorted(Path(target).name for _, target in files)[:20])}.",
        )
    return script, files, ()


def _model(store: Store, mount: Any, model: Resource | None) -> tuple[str, str | None, Files]:
    """Place the model as Azure does: MOUNT/{name}/{version}/{last part of its path}/...

    Sources: MicrosoftDocs, how-to-deploy-online-endpoints.md
    (`/var/azureml-app/azureml-models/$MODEL_NAME/$VERSION`) and how-to-deploy-custom-container.md
    (`model_mount_path`: name and version below it).
    """
    folder = _safe(str(mount)) if mount else f"{APP}/azureml-models"
    if model is None:
        return folder, None, ()
    name, version = ids.name(ids.parent(model.id)), model.name
    own = f"{folder}/{_safe(name)}/{_safe(version)}"
    base = locate(model.properties["modelUri"], _workspace(model)).rsplit("/", 1)[-1]
    return folder, own, _files(store, model, "modelUri", f"{own}/{base}")


def _files(store: Store, asset: Resource, field: str, target: str) -> tuple[tuple[str, str], ...]:
    place = locate(asset.properties[field], _workspace(asset))
    if store.get_blob(place) is not None:
        return ((place, target),)
    blobs = store.blobs(place + "/")
    if not blobs:
        raise ArmError.validation(
            field, f"Nothing is stored at '{asset.properties[field]}': upload the files before deploying."
        )
    return tuple((blob.name, f"{target}/{blob.name[len(place) + 1 :]}") for blob in blobs)


def _workspace(asset: Resource) -> str:
    return ids.parent(ids.parent(asset.id))


def _safe(path: str) -> str:
    """Return a path below the instance's folder, `..` and a leading `/` refused or removed."""
    parts = [part for part in re.split(r"[/\\]", path) if part not in ("", ".")]
    if not parts or ".." in parts:
        raise ArmError.validation(
            "Path", f"The path '{path}' must stay below the deployment's folder: remove '..'."
        )
    return "/".join(parts)


def _environment_notes(
    environment: Resource | None, container: Container | None, curated: Curated | None
) -> Iterator[str]:
    """Yield notes on how the environment's image and packages differ from what runs."""
    if container is not None:
        yield container.described
    elif curated is not None:
        yield f"Curated environment {curated.name} is not pulled: the sandbox runs its own Python."
        yield from version_notes(curated)
    elif environment is None:
        yield "No environment is given: the sandbox runs its own Python."
    else:
        verb = "pulled" if environment.properties.get("image") else "built"
        yield f"Image {containers.image_of(environment)} is not {verb}: the sandbox runs its own Python."
        yield from differences(_conda_file(environment))


def _conda_file(environment: Resource | None) -> str:
    return (environment.properties.get("condaFile") or "") if environment is not None else ""


def _is_curated(environment: Resource) -> bool:
    return environment.properties.get("environmentType") == "Curated"


def _name(version: Resource) -> str:
    return ids.name(ids.parent(version.id))
