"""The requirements of an environment that the sandbox's own Python does not meet, for the log."""

import platform
import re
from collections.abc import Iterator
from functools import lru_cache
from typing import Any

_EXACT = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)(?:\[[^]]*\])?\s*={2,3}\s*(?P<version>[^\s;]+)$")
_NAMED = re.compile(r"^(?P<name>[A-Za-z0-9_.-]+)")


def differences(conda_file: str) -> list[str]:
    """Return a line for each requirement of a conda file that the sandbox's own Python does not meet."""
    if not conda_file:
        return []
    try:
        listed = _read(conda_file)
    except ValueError as error:
        return [f"The conda file cannot be read: {error}"]
    return [line for one in listed for line in _unmet(one)] or ["The sandbox's own Python meets the conda file."]


def named_packages(conda_file: str) -> frozenset[str]:
    """Return the packages that a conda file names, of conda and of pip, in lower case; none if it cannot be read.

    >>> sorted(named_packages("dependencies: [python=3.11, numpy, {pip: [scikit-learn>=1.6]}]"))
    ['numpy', 'python', 'scikit-learn']
    """
    try:
        listed = _read(conda_file)
    except ValueError:
        return frozenset()
    of_pip = [line for one in listed if isinstance(one, dict) for line in one.get("pip") or []]
    named = [_NAMED.match(str(one)) for one in (*listed, *of_pip) if not isinstance(one, dict)]
    return frozenset(one["name"].lower().replace("_", "-") for one in named if one is not None)


@lru_cache(maxsize=64)
def _read(conda_file: str) -> list[Any]:
    """Return the dependencies of a conda file.

    Raises
    ------
    ValueError
        If it is not YAML.
    """
    if not conda_file:
        return []
    import yaml  # noqa: PLC0415 - only where a conda file is read

    try:
        content = yaml.safe_load(conda_file)
    except yaml.YAMLError as error:
        raise ValueError(str(error)) from error
    listed = content.get("dependencies") if isinstance(content, dict) else None
    return listed if isinstance(listed, list) else []


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
