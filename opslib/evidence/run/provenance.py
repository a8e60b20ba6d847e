"""Where a run came from: the notebook's repository, the person or pipeline that ran it, the versions it ran on."""

import getpass
import os
import platform
import subprocess
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("opslib", "azure-ai-ml", "azure-core", "ipykernel", "papermill", "scrapbook")

_PIPELINES = {
    "GITHUB_ACTIONS": ("GITHUB_ACTOR", "GITHUB_REPOSITORY", "GITHUB_RUN_ID"),
    "TF_BUILD": ("BUILD_REQUESTEDFOR", "BUILD_REPOSITORY_NAME", "BUILD_BUILDID"),
    "GITLAB_CI": ("GITLAB_USER_LOGIN", "CI_PROJECT_PATH", "CI_PIPELINE_ID"),
    "AZUREML_RUN_ID": ("AZUREML_RUN_ID", "AZUREML_ARM_WORKSPACE_NAME", "AZUREML_EXPERIMENT_ID"),
}
"""Variables by which a pipeline says that it is one, and who, for what, under which number."""


def find_executor() -> dict[str, str]:
    """Who runs this: the machine's user, and the pipeline's where there is one."""
    try:
        user = getpass.getuser()
    except (KeyError, OSError):
        user = str(os.getuid())
    pipeline = next((names for flag, names in _PIPELINES.items() if os.environ.get(flag)), ())
    said = zip(("pipeline_user", "pipeline", "pipeline_run"), pipeline, strict=False)
    return {"user": user} | {name: os.environ[variable] for name, variable in said if variable in os.environ}


def find_commit(path: Path) -> tuple[str, bool | None]:
    """The git commit that a file stands in, and whether the repository differs from it; empty outside of one."""
    commit = _git(path, "rev-parse", "HEAD")
    if not commit:
        return "", None
    return commit, bool(_git(path, "status", "--porcelain", "--untracked-files=no"))


def find_versions() -> dict[str, str]:
    """Versions of Python and of what does the work."""
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
