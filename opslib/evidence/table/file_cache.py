"""Copies of a container's files on this machine, each under its name and ETag, so that one is fetched once."""

import hashlib
import os
import tempfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

THREADS = 8


class FileCache:
    """The copies of one container's files, in the user's cache folder (``XDG_CACHE_HOME``)."""

    def __init__(self, container: "Container") -> None:
        base = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
        self.folder = base / "opslib" / "published" / hashlib.sha256(container.url.encode()).hexdigest()[:16]
        self._container = container
        try:
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise RecordError(f"cannot create the cache {self.folder}: {error.strerror}") from error

    def fetch(self, etags: Mapping[str, str], names: Iterable[str]) -> dict[str, Path]:
        """Return a copy of each file, by name; what is not here is fetched.

        Parameters
        ----------
        etags
            ETag of each file, as the container lists it.
        """
        paths = {name: self.path(f"{name}\n{etags[name]}", Path(name).suffix) for name in names}
        missing = [name for name, path in paths.items() if not path.exists()]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: self.put(paths[name], self._container.read(name)), missing))
        return paths

    def path(self, key: str, suffix: str) -> Path:
        """Return the path of a cached value."""
        return self.folder / f"{hashlib.sha256(key.encode()).hexdigest()[:40]}{suffix}"

    def put(self, path: Path, content: bytes) -> None:
        """Write a cached value; another process sees all of it or nothing."""
        with tempfile.NamedTemporaryFile("wb", dir=self.folder, delete=False) as file:
            file.write(content)
        Path(file.name).replace(path)

    def prune(self, etags: Mapping[str, str]) -> None:
        """Remove the copies of table files that the container no longer has."""
        kept = {self.path(f"{name}\n{etag}", ".parquet").name for name, etag in etags.items()}
        for path in self.folder.glob("*.parquet"):
            if path.name not in kept and not path.name.startswith("ledger-"):
                path.unlink(missing_ok=True)
