"""Digests of what a definition uploads: code folder, model, environment. The same files have the same digest."""

import hashlib
import os
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.definitions.asset_rules import is_local
from opslib.definitions.deployment import DeploymentDefinition
from opslib.definitions.source import read_utf8

if TYPE_CHECKING:
    from pathspec import PathSpec, Pattern

IGNORE_FILES = (".amlignore", ".gitignore")
"""Files that name what is not uploaded; the first that is in the folder itself counts.

Source: azure-ai-ml 1.35, ``get_ignore_file`` and ``IgnoreFile``. It uploads ``__pycache__`` of a deployment's code
unless one of them names it, and Python may run what is in it: so it is part of the digest too.
"""

UPLOADED = ("code_configuration.code", "model", "model.path", "environment.conda_file", "environment.build.path")
"""Fields of a definition that may hold a local path."""


def digest_uploads(definition: DeploymentDefinition) -> dict[str, str]:
    """Return the digest of every file and folder that a deployment is made of, by the definition's field.

    A registered asset is not among them: its version names its content.
    """
    source = definition.source
    found = {str(path): path for path in (definition.path, *source.included)}
    found |= {field: source.local_path(source.get(field)) for field in UPLOADED if is_local(source.get(field))}
    return {name: digest_path(path) for name, path in found.items() if path.exists()}


def digest_path(path: Path) -> str:
    """Return the SHA-256 of a file, or of a folder: of the names and digests of all files that are uploaded."""
    if path.is_file():
        return _digest_file(path)
    lines = (f"{_digest_file(path / name)}  {name}\n" for name in uploaded_files(path))
    return hashlib.sha256("".join(lines).encode("utf-8", "surrogateescape")).hexdigest()


def uploaded_files(folder: Path) -> Iterator[str]:
    """Yield the relative names of the files in a folder that azure-ai-ml uploads, in order; links are followed."""
    ignored = _read_ignored(folder)
    names = (
        (Path(root) / name).relative_to(folder).as_posix()
        for root, _, files in os.walk(folder, followlinks=True)
        for name in files
        if not ignored.match_file(os.path.relpath(Path(root).resolve() / name, folder.resolve()))
    )
    yield from sorted(names)


def _read_ignored(folder: Path) -> "PathSpec[Pattern]":
    from pathspec import PathSpec  # noqa: PLC0415 - every kernel imports this module, few runs upload a folder

    path = next((folder / name for name in IGNORE_FILES if (folder / name).exists()), None)
    lines = [] if path is None else read_utf8(path, "list of ignored files").splitlines()
    return PathSpec.from_lines("gitignore", lines)


def _digest_file(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
