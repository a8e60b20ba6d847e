"""What a deployment's start downloads: its image and its model, as the endpoint's own identity.

Source: Microsoft Learn, "Authentication and authorization for online endpoints" and "Troubleshoot online
endpoints", error BadArgument: the identity needs AcrPull on the workspace's registry and Storage Blob Data Reader
on its storage account. The words after the first sentence of a failure are ours.
"""

from dataclasses import dataclass

from opslib.sandbox.arm.errors import ProvisioningFailed
from opslib.sandbox.arm.principals import Principal
from opslib.sandbox.arm.records import Resource
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core import ids
from opslib.sandbox.faults.model import FaultKind
from opslib.sandbox.faults.registry import Faults
from opslib.sandbox.identity.directory import Directory
from opslib.sandbox.instances.logs import FleetLog

PULL = "Microsoft.ContainerRegistry/registries/pull/read"
READ_BLOBS = "Microsoft.Storage/storageAccounts/blobServices/containers/blobs/read"
GUIDE = "Please see troubleshooting guide, available here: https://aka.ms/oe-tsg#error-badargument"


@dataclass(frozen=True)
class Artifacts:
    """Checks that the image can be pulled and the model read, before instances start."""

    store: Store
    log: FleetLog
    faults: Faults
    directory: Directory

    def check(self, deployment: Resource, operation: str) -> None:
        """Fail the start of a deployment whose image or model cannot be downloaded.

        Only a system-assigned identity is checked: that of an endpoint made without one has no roles to lose.

        Raises
        ------
        ProvisioningFailed
            BadArgument, after the failed step was noted in the deployment's log.
        """
        endpoint = self.store.get(ids.parent(deployment.id))
        image = self._image(deployment)
        name = ids.name(ids.parent(deployment.id))
        if self.faults.hit(FaultKind.IMAGE_PULL, operation, name, deployment.name):
            self._fail(deployment, "UserContainerImagePull", f"Failed to pull image {image}: manifest unknown")
        identity = (endpoint.body.get("identity") or {}) if endpoint is not None else {}
        if identity.get("type") != "SystemAssigned":
            return
        principal = Principal(identity["principalId"], "", name)
        providers = f"{deployment.id.split('/providers/', maxsplit=1)[0]}/providers"
        registry = f"{providers}/Microsoft.ContainerRegistry/registries/sandbox"
        if not self.directory.allows(principal, PULL, registry):
            reason = f"unauthorized: identity {principal.object_id} cannot pull from {registry}"
            self._fail(deployment, "UserContainerImagePull", f"Failed to pull image {image}: {reason}")
        storage = f"{providers}/Microsoft.Storage/storageAccounts/sandbox"
        if deployment.properties.get("model") and not self.directory.allows_data(principal, READ_BLOBS, storage):
            self._fail(
                deployment,
                "ModelDownload",
                f"Failed to download model {deployment.properties['model']}: 403 AuthorizationPermissionMismatch: "
                f"identity {principal.object_id} is not authorized to read blobs of {storage}",
            )

    def _fail(self, deployment: Resource, step: str, message: str) -> None:
        self.log.note_failed_step(deployment.id, step, message)
        what = "image" if step == "UserContainerImagePull" else "model"
        raise ProvisioningFailed("BadArgument", f"Unable to download user {what}. {message}. {GUIDE}")

    def _image(self, deployment: Resource) -> str:
        environment = self.store.get(str(deployment.properties.get("environmentId") or ""))
        return str((environment.properties.get("image") if environment is not None else "") or "of the environment")
