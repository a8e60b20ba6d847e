"""What a pipeline releases: an endpoint's folder as its definitions and its policy describe it."""

import re
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from opslib.definitions.deployment import read_deployment
from opslib.errors import DefinitionError, PolicyError
from opslib.policy import FILE
from opslib.policy.folder import check_folder, find_deployments
from opslib.policy.reading import read_policy

APPROVERS = ("approvers.pem", "allowed_signers")
"""Files of approvers' public keys that may be in the folder."""


@dataclass(frozen=True)
class Release:
    """An endpoint's folder, as the steps of a pipeline need it.

    Attributes
    ----------
    endpoint
        The endpoint's name.
    folder
        The folder, relative to where the pipeline runs.
    deployments
        Names of the deployments that can be released; the definition of NAME is NAME.yml.
    target
        What `-p target` takes: the folder's config.json, or "azure" for the nearest one.
    probes
        Name of the probes file; empty where there is none.
    validated
        Whether the policy names a validation set.
    approvers
        Paths of the approvers' keys.
    requirement
        What pip installs.
    """

    endpoint: str
    folder: str
    deployments: tuple[str, ...]
    target: str
    probes: str
    validated: bool
    approvers: tuple[str, ...]
    requirement: str


def read_release(folder: Path, requirement: str = "", probes: str = "") -> Release:
    """Read an endpoint's folder.

    Raises
    ------
    DefinitionError
        If the path is not relative, the folder has errors or no deployment, or a definition's file is not named as
        its deployment.
    PolicyError
        If there is no policy.
    """
    if folder.is_absolute() or not re.fullmatch(r"[\w./-]+", folder.as_posix()):
        raise DefinitionError(
            f"expected the folder's path relative to the repository's root, without blanks, got {folder}"
        )
    if not (folder / FILE).is_file():
        if not folder.is_dir():
            raise PolicyError(f"{folder} is no folder in {Path.cwd()}: expected an endpoint's, with its {FILE}")
        raise PolicyError(f"{folder} has no {FILE}: a release takes its stages and limits from it. See opslib init")
    errors = [one for one in check_folder(folder).results if one.severity == "error"]
    if errors:
        first = f"{folder / errors[0].file}:{errors[0].line}: {errors[0].reason}"
        raise DefinitionError(
            f"{folder} has errors, the first of {len(errors)}: {first}. See opslib check {folder}"
        )
    policy = read_policy(folder / FILE)
    return Release(
        endpoint=policy.endpoint,
        folder=folder.as_posix(),
        deployments=_deployments(folder, policy.endpoint),
        target=(folder / "config.json").as_posix() if (folder / "config.json").is_file() else "azure",
        probes=probes or _probes(folder),
        validated=policy.validation is not None,
        approvers=tuple((folder / name).as_posix() for name in APPROVERS if (folder / name).is_file()),
        requirement=requirement or f"opslib=={version('opslib')}",
    )


def _deployments(folder: Path, endpoint: str) -> tuple[str, ...]:
    paths = find_deployments(folder)
    named = {path: read_deployment(path, endpoint, path.stem).name for path in paths}
    other = [f"{path.name} defines {name}" for path, name in named.items() if path.name != f"{name}.yml"]
    if other:
        raise DefinitionError(f"expected the definition of NAME in NAME.yml; in {folder}, {', '.join(other)}")
    if not named:
        raise DefinitionError(f"{folder} has no deployment's definition: nothing can be released from it")
    return tuple(named.values())


def _probes(folder: Path) -> str:
    """Return the folder's probes file; with several, none can be chosen for every deployment."""
    found = sorted(path.name for path in folder.glob("*probes*.jsonl"))
    return found[0] if len(found) == 1 else ""
