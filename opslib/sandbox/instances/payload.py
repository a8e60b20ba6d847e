"""What one instance runs: a deployment's code, model and environment, written to a folder."""

import hashlib
import json
import shutil
from dataclasses import dataclass
from pathlib import Path

from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.instances.containers import SERVER_ROUTES, Container, Routes
from opslib.sandbox.instances.probes import Probes
from opslib.sandbox.storage.blob_files import content_path

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
    mount
        Folder of the models below the instance's folder.
    container
        What runs it where it brings a server of its own; None where the inference server does.
    packages
        Packages that its environment's conda file names.
    missing
        Packages that its curated environment promises, and this Python lacks.
    model, environment
        Ids of the versions that the deployment's references name.
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
    mount: str = f"{APP}/azureml-models"
    container: Container | None = None
    packages: frozenset[str] = frozenset()
    missing: tuple[str, ...] = ()
    model: str | None = None
    environment: str | None = None

    @property
    def routes(self) -> Routes:
        """Return where an instance answers."""
        return self.container.routes if self.container is not None else SERVER_ROUTES

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
            repr(self.container),
            self.environment,
        )
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()[:12]

    @property
    def shown_variables(self) -> dict[str, str]:
        """Return the service's variables as a deployment shows them: Azure's folders; none of an MLflow model."""
        if self.own_files:
            return {}
        if self.container is not None:
            return {"AZUREML_MODEL_DIR": f"/{self.model_dir}"} if self.model_dir is not None else {}
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

    def server_variables(self, root: Path, server_version: str) -> dict[str, str]:
        """Return what azureml_inference_server_http's amlserver.py would have set, and the deployment's own."""
        values = dict(_SERVER_DEFAULTS)
        values["HTTP_X_MS_SERVER_VERSION"] = f"azmlinfsrv/{server_version}"
        values |= dict(self.variables)
        values["AML_APP_ROOT"] = str(root / self.app_root)
        values["AZUREML_ENTRY_SCRIPT"] = self.entry_script
        if self.model_dir is not None:
            values["AZUREML_MODEL_DIR"] = str(root / self.model_dir)
        return values

    @property
    def container_variables(self) -> dict[str, str]:
        """Return the variables of a container: the deployment's own, and where its model is in the container."""
        model = {"AZUREML_MODEL_DIR": f"/{self.model_dir}"} if self.model_dir is not None else {}
        return dict(self.variables) | model

    @property
    def folders(self) -> tuple[str, ...]:
        """Return the absolute folders that a container is given."""
        return tuple(dict.fromkeys((f"/{APP}", f"/{self.mount}" if not self.mount.startswith(APP) else f"/{APP}")))
