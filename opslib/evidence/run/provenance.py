"""The provenance of a run: commit of the notebook, user or pipeline, versions of the packages."""

import getpass
import os
import platform
import subprocess
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("opslib", "azure-ai-ml", "azure-core", "ipykernel", "papermill", "scrapbook")

_PIPELINES = {
    "GITHUB_ACTIONS": ("GITHUB_ACTOR", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"),
    "TF_BUILD": ("BUILD_REQUESTEDFOR", "BUILD_REPOSITORY_NAME", "BUILD_BUILDID"),
    "GITLAB_CI": ("GITLAB_USER_LOGIN", "CI_PROJECT_PATH", "CI_PIPELINE_ID"),
    "AZUREML_RUN_ID": ("AZUREML_RUN_ID", "AZUREML_ARM_WORKSPACE_NAME", "AZUREML_EXPERIMENT_ID"),
}
"""Environment variable that identifies a pipeline, and those that hold its user, project and run id."""


def find_executor() -> dict[str, str]:
    """Return the user of this machine and, in a pipeline, the pipeline's user, project and run id."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    pipeline = next((names for flag, names in _PIPELINES.items() if os.environ.get(flag)), ())
    fields = zip(("pipeline_user", "pipeline", "pipeline_run"), pipeline, strict=False)
    return {"user": user} | {name: os.environ[variable] for name, variable in fields if variable in os.environ}


def find_commit(path: Path) -> tuple[str, bool | None]:
    """Return the commit of the git repository that tracks a file, and whether it has local changes.

    Empty and None where git does not track the file: the commit of a repository around it, such as the one that a
    virtual environment lies in, would name a version that the file does not have.
    """
    if not _git(path, "ls-files", "--error-unmatch", path.name):
        return "", None
    status = _git(path, "status", "--porcelain=v2", "--branch", "--untracked-files=no").splitlines()
    commit = next((line.removeprefix(_COMMIT) for line in status if line.startswith(_COMMIT)), "")
    if not commit or commit == _NO_COMMIT:
        return "", None
    return commit, any(not line.startswith("#") for line in status)


_COMMIT, _NO_COMMIT = "# branch.oid ", "(initial)"
"""How `git status` names the commit, and what it names before the first one. Source: git-status(1), format 2."""


def set_prepared_at(at: str) -> None:
    """Record that this process is a fork of one that was prepared then [UTC, ISO 8601]."""
    _PREPARED_AT[:] = [at]


def find_prepared_at() -> str:
    """Return when the process was prepared of which this one is a fork; empty if it imported everything itself."""
    return _PREPARED_AT[0] if _PREPARED_AT else ""


_PREPARED_AT: list[str] = []


def find_versions() -> dict[str, str]:
    """Return the versions of Python and of the packages that a run depends on."""
    return dict(_find_versions())


@cache
def _find_versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for package in PACKAGES:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found


def _git(path: Path, *words: str) -> str:
    command = ["git", "-C", str(path.parent), *words]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout.strip() if done.returncode == 0 else ""
