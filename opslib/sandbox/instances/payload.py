"""What one instance runs: a deployment's code, model and environment, resolved and written to a folder."""

import hashlib
import json
import re
import shutil
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.store import Resource, Store
from opslib.sandbox.core import ids
from opslib.sandbox.core.clock import parse_duration_s
from opslib.sandbox.instances.probes import Probes, read_probes
from opslib.sandbox.instances.requirements import differences
from opslib.sandbox.storage.blob_files import content_path, locate

APP = "var/azureml-app"
OWN_VARIABLES = ("AZUREML_MODEL_DIR", "AZUREML_ENTRY_SCRIPT", "AML_APP_ROOT")
"""Variables that the service sets; a client that sends them back changes nothing."""

_SERVER_DEFAULTS = {
    "AML_APP_INSIGHTS_ENABLED": "false",
    "WORKER_COUNT": "1",
    "WORKER_TIMEOUT": "300",
}


@dataclass(frozen=True)
class Payload:
    """Everything that makes two instances of a deployment the same.

    Attributes
    ----------
    deployment
        The deployment's id as ARM spells it.
    files
        (blob name, path below the instance's folder) of every file.
    own_files
        (path, path below the instance's folder) of what the sandbox adds.
    app_root, entry_script, model_dir
        Paths below the instance's folder; the script is relative to `app_root`.
    variables
        The deployment's environment variables.
    notes
        Lines for the StorageInitializer's log.
    capacity, concurrency
        Instances wanted; requests that one instance works on at once [count].
    timeout_s
        Time given to one request [s].
    probes
        Probe settings of its instances.
    """

    deployment: str
    files: tuple[tuple[str, str], ...]
    own_files: tuple[tuple[str, str], ...]
    app_root: str
    entry_script: str
    model_dir: str | None
    variables: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]
    capacity: int
    concurrency: int
    timeout_s: float
    probes: Probes

    @property
    def generation(self) -> str:
        """Return a digest of what needs new processes when it changes."""
        parts = (
            self.files,
            self.own_files,
            self.app_root,
            self.entry_script,
            self.model_dir,
            self.variables,
            repr(self.probes),
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def shown_variables(self) -> dict[str, str]:
        """Return the service's own variables as a deployment shows them: Azure's folders; none without code."""
        if self.own_files:
            return {}
        values = (
            f"/{self.model_dir}" if self.model_dir is not None else "",
            self.entry_script,
            f"/{self.app_root}",
        )
        return {name: value for name, value in zip(OWN_VARIABLES, values, strict=True) if value}

    def write(self, blobs: Path, root: Path) -> None:
        """Copy code and model below an instance's own folder."""
        for blob, target in self.files:
            path = (root / target).resolve()
            if not path.is_relative_to(root.resolve()):
                raise ArmError.bad_request(f"The path '{target}' of blob '{blob}' leaves the instance's folder.")
            path.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(content_path(blobs, blob), path)
        (root / self.app_root).mkdir(parents=True, exist_ok=True)
        for source, target in self.own_files:
            shutil.copyfile(source, root / target)

    def environment(self, root: Path, server_version: str) -> dict[str, str]:
        """Return what azureml_inference_server_http's amlserver.py would have set, and the deployment's own."""
        values = dict(_SERVER_DEFAULTS)
        values["HTTP_X_MS_SERVER_VERSION"] = f"azmlinfsrv/{server_version}"
        values |= dict(self.variables)
        values["AML_APP_ROOT"] = str(root / self.app_root)
        values["AZUREML_ENTRY_SCRIPT"] = self.entry_script
        if self.model_dir is not None:
            values["AZUREML_MODEL_DIR"] = str(root / self.model_dir)
        return values


def resolve(store: Store, deployment: Resource) -> Payload:
    """Find the assets that a deployment refers to.

    Raises
    ------
    ArmError
        If an asset does not exist, or the deployment needs something that is not built.
    """
    properties = deployment.properties
    script, files, own_files = _script(store, properties)
    model_dir, model_files = _model(store, properties)
    notes = [f"Downloading {blob.rsplit('/', 1)[-1]} to /{target}" for blob, target in (*files, *model_files)]
    notes += _environment_notes(store, properties.get("environmentId"))
    return Payload(
        deployment=deployment.id,
        files=(*files, *model_files),
        own_files=own_files,
        app_root=str(script.parent),
        entry_script=script.name,
        model_dir=model_dir,
        variables=tuple(sorted((properties.get("environmentVariables") or {}).items())),
        notes=tuple(notes),
        capacity=int(deployment.body["sku"]["capacity"]),
        concurrency=int(properties["requestSettings"]["maxConcurrentRequestsPerInstance"]),
        timeout_s=parse_duration_s(properties["requestSettings"]["requestTimeout"]),
        probes=read_probes(properties),
    )


Files = tuple[tuple[str, str], ...]


def _script(store: Store, properties: dict[str, Any]) -> tuple[Path, Files, Files]:
    """Return the scoring script, the code's files, and what the sandbox adds: an MLflow model needs no code."""
    code = properties.get("codeConfiguration") or {}
    if not code.get("codeId"):
        model = _asset(store, properties["model"], "models") if properties.get("model") else None
        if model is None or model.properties.get("modelType") != "mlflow_model":
            raise ArmError.not_built("online deployments of custom containers, without code and MLflow model")
        script = Path(f"{APP}/mlflow/mlflow_score.py")
        return script, (), ((str(Path(__file__).with_name("mlflow_score.py")), str(script)),)
    code_asset = _asset(store, code["codeId"], "codes")
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


def _model(store: Store, properties: dict[str, Any]) -> tuple[str | None, tuple[tuple[str, str], ...]]:
    """Place the model as Azure does: AZUREML_MODEL_DIR/{last part of its path}/...

    Source: MicrosoftDocs, how-to-deploy-online-endpoints.md:
    `/var/azureml-app/azureml-models/$MODEL_NAME/$VERSION`.
    """
    if not properties.get("model"):
        return None, ()
    model = _asset(store, properties["model"], "models")
    name, version = ids.name(ids.parent(model.id)), model.name
    mount = properties.get("modelMountPath")
    folder = _safe(mount) if mount else f"{APP}/azureml-models/{_safe(name)}/{_safe(version)}"
    base = locate(model.properties["modelUri"], _workspace(model)).rsplit("/", 1)[-1]
    return folder, _files(store, model, "modelUri", f"{folder}/{base}")


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


def _asset(store: Store, asset_id: str, kind: str) -> Resource:
    if asset_id.lower().startswith("azureml://registries/"):
        raise ArmError.not_built(f"{kind} of registries, here {asset_id}")
    if asset_id.lower().startswith("azureml:azureml-"):  # azure-ai-ml sends a curated environment as it was typed
        raise ArmError.not_built(f"the curated environment {asset_id}")
    asset = store.get(asset_id)
    if asset is None or asset.kind != f"{kind}/versions":
        raise ArmError.validation(
            kind, f"The asset '{asset_id}' was not found: register it, or correct the deployment's reference."
        )
    return asset


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


def _environment_notes(store: Store, environment_id: str | None) -> list[str]:
    """Return notes on how the environment's image and packages differ from what runs."""
    if environment_id is None or environment_id.startswith("azureml://registries/"):
        return [f"Environment {environment_id} is not fetched: the sandbox runs its own Python."]
    environment = _asset(store, environment_id, "environments")
    image = f"Image {environment.properties.get('image')} is not pulled: the sandbox runs its own Python."
    return [image, *differences(environment.properties.get("condaFile") or "")]
