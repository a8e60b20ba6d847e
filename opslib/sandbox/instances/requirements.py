"""The requirements of an environment that the sandbox's own Python does not meet, for the log."""

import platform
import re
from collections.abc import Iterator
from typing import Any

_EXACT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*={2,3}\s*(?P<version>[^\s;]+)$")
_NAMED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)")


def differences(conda_file: str) -> list[str]:
    """Return a line for each requirement of a conda file that the sandbox's own Python does not meet."""
    import yaml  # noqa: PLC0415 - only where a conda file is read

    if not conda_file:
        return []
    try:
        wanted = yaml.safe_load(conda_file)
    except yaml.YAMLError as error:
        return [f"The conda file cannot be read: {error}"]
    listed = wanted.get("dependencies") if isinstance(wanted, dict) else None
    return [line for one in listed or [] for line in _unmet(one)] or [
        "The sandbox's own Python meets the conda file."
    ]


def _unmet(requirement: Any) -> Iterator[str]:
    if isinstance(requirement, dict):
        for one in requirement.get("pip") or []:
            yield from _unmet_package(str(one))
        return
    name, _, version = str(requirement).replace("==", "=").partition("=")
    if name.strip() == "python" and version and not _same(platform.python_version(), version.strip()):
        yield f"Python {version} is required, {platform.python_version()} runs."


def _unmet_package(requirement: str) -> Iterator[str]:
    from importlib import metadata  # noqa: PLC0415 - only where a conda file is read

    named, exact = _NAMED.match(requirement), _EXACT.match(requirement)
    if named is None:
        return
    try:
        present = metadata.version(named["name"])
    except metadata.PackageNotFoundError:
        yield f"Package {requirement} is required and not installed."
        return
    if exact is not None and not _same(present, exact["version"]):
        yield f"Package {requirement} is required, {present} runs."


def _same(present: str, wanted: str) -> bool:
    prefix = wanted.rstrip("*").rstrip(".")
    return present == prefix or present.startswith(prefix + ".")
