"""Write the folder of a live endpoint. Nothing is overwritten, and nothing is written unless all of it can be."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from opslib.azure.connect import Workspace
from opslib.azure.endpoints import read_endpoint
from opslib.azure.source import find_source
from opslib.errors import DefinitionError, ObserveError
from opslib.model import Deployment, Endpoint, Observation
from opslib.policy.schema import schema
from opslib.scaffold.deployment_file import deployment_file
from opslib.scaffold.endpoint_file import endpoint_file
from opslib.scaffold.policy_file import SCHEMA_FILE, policy_file
from opslib.scaffold.yaml_file import YamlFile

MEASURED = timedelta(hours=24)
"""Time of which the traffic is measured for suggested objectives."""


@dataclass(frozen=True)
class WrittenFolder:
    """What was written.

    Attributes
    ----------
    folder
        The folder.
    files
        Names of the files in it.
    to_fill_in
        What a person must fill in, as file and field.
    left_out
        Deployments without a file, and why.
    """

    folder: Path
    files: tuple[str, ...]
    to_fill_in: tuple[str, ...]
    left_out: tuple[str, ...]


def write_folder(workspace: Workspace, name: str, folder: Path) -> WrittenFolder:
    """Read an endpoint and write endpoint.yml, a YAML per deployment, policy.yml and its schema.

    Raises
    ------
    DefinitionError
        If one of the files exists already.
    NotFound
        If there is no such endpoint.
    """
    endpoint = read_endpoint(workspace, name)
    seen, unknown = _measure(workspace, endpoint)
    managed = [one for one in endpoint.deployments if _is_managed(one)]
    files = [
        endpoint_file(endpoint),
        *(_deployment(workspace, endpoint, one) for one in managed),
        policy_file(endpoint, seen, unknown),
    ]
    texts = {file.name: file.text for file in files} | {SCHEMA_FILE: schema()}
    _write_all(folder, texts)
    return WrittenFolder(
        folder,
        tuple(texts),
        tuple(f"{file.name}: {field}" for file in files for field in file.placeholders),
        tuple(f"{one.name}: not a managed deployment" for one in endpoint.deployments if not _is_managed(one)),
    )


def _deployment(workspace: Workspace, endpoint: Endpoint, one: Deployment) -> YamlFile:
    weight = endpoint.traffic.get(one.name, 0)
    return deployment_file(one, endpoint.name, workspace.scope.workspace_id, weight)


def _is_managed(deployment: Deployment) -> bool:
    return str(deployment.arm["properties"].get("endpointComputeType") or "Managed") == "Managed"


def _measure(workspace: Workspace, endpoint: Endpoint) -> tuple[Observation | None, str]:
    now = datetime.now(UTC)
    try:
        return find_source(workspace, endpoint, grain_s=3600.0).observe(now - MEASURED, now), ""
    except ObserveError as error:
        return None, str(error).splitlines()[0]


def _write_all(folder: Path, texts: dict[str, str]) -> None:
    there = sorted(name for name in texts if (folder / name).exists())
    if there:
        raise DefinitionError(
            f"{folder} has {', '.join(there)} already: nothing was written. Name another folder, or remove them"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in texts.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise DefinitionError(f"{folder} cannot be written: {error.strerror}") from error
