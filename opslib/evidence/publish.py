"""Publication: copy sealed runs to a blob container, and read a published archive like a local one.

Blobs are created and never overwritten. The ledger, which grows, is copied in segments
(``LEDGER/000001-000042.jsonl``). The order is: keys and ledger, runs (each with its seal last), checkpoints. An
interrupted copy is therefore incomplete but not tampered, and the next one continues it. Before its seal, a run
gets its row in the table of published runs (`opslib.evidence.table`), which is not evidence.
"""

import hashlib
import tempfile
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import quote

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.archive.checkpoints import checkpoint_lines, find_checkpoints
from opslib.evidence.archive.run_row import read_row
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, LEDGER_SEGMENTS, SEAL, TABLE
from opslib.evidence.signing import dsse
from opslib.evidence.signing.public_keys import read_public_keys
from opslib.evidence.signing.timestamping import token_path
from opslib.evidence.table.table_files import run_file, to_parquet
from opslib.evidence.verify.verify_run import verify_run

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

THREADS = 8


@dataclass
class Published:
    """The result of a publication; `left_out` lists the runs that were not published, each with the reason."""

    uploaded: int = 0
    present: int = 0
    left_out: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Store:
    """A container and the blobs that it contained at the start."""

    container: "Container"
    there: Mapping[str, tuple[int, bytes]]
    published: Published

    def put(self, name: str, content: bytes) -> None:
        """Create a blob, unless it exists with the same content."""
        if self.there.get(name) == (len(content), hashlib.md5(content, usedforsecurity=False).digest()):
            self.published.present += 1
        elif self.container.create(name, content):
            self.published.uploaded += 1
        else:
            self.published.present += 1


def publish(archive: Path, folders: Sequence[Path], container: "Container") -> Published:
    """Copy sealed runs to a container.

    Parameters
    ----------
    archive
        The archive of the runs.
    folders
        Folders of the runs; empty means all that are sealed and not quarantined.
    container
        The target.

    Raises
    ------
    RecordError
        If the container contains the ledger of another archive, or another content under the same name.
    """
    store = _Store(container, _listed(folders, container), Published())
    for path in sorted((archive / KEYS).glob("*.pem")):
        store.put(f"{KEYS}/{path.name}", path.read_bytes())
    marks = find_checkpoints(archive)
    lines = _put_ledger(archive, store)
    keys = read_public_keys(sorted((archive / KEYS).glob("*.pem")))
    for folder in _wanted(archive, folders, keys, store.published):
        _put_run(folder, store)
    for path in marks:
        if checkpoint_lines(path) <= lines:
            for file in (path, token_path(path)):
                if file.exists():
                    store.put(f"{CHECKPOINTS}/{file.name}", file.read_bytes())
    return store.published


@contextmanager
def mirror(container: "Container", wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Path]:
    """Copy a published archive into a temporary folder; of the runs, only the files that `wanted` selects."""
    with tempfile.TemporaryDirectory(prefix="opslib-published-") as scratch:
        archive = Path(scratch)
        names = [name for name in container.sizes() if not name.startswith(TABLE)]
        if not any(name.startswith(LEDGER_SEGMENTS) for name in names):
            raise RecordError(f"{container.url} does not contain an archive: {LEDGER_SEGMENTS} is missing")
        runs = [n for n in names if not n.startswith(LEDGER_SEGMENTS) and (n.count("/") != 2 or wanted(n))]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: _fetch(archive, name, container), runs))
        (archive / LEDGER).write_bytes(_join(container, names))
        yield archive


def _listed(folders: Sequence[Path], container: "Container") -> Mapping[str, tuple[int, bytes]]:
    """List what the container holds; for a few runs only what these need, however much there is of others."""
    if not folders:
        return container.sizes()
    places = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    prefixes = [LEDGER_SEGMENTS, f"{CHECKPOINTS}/", f"{KEYS}/", *(f"{p}/" for p in places), *map(run_file, places)]
    return {name: size for prefix in prefixes for name, size in container.sizes(prefix).items()}


def _put_ledger(archive: Path, store: _Store) -> int:
    """Publish the lines of the ledger that are new; return the number of published lines."""
    local = [e.line() for e in ledger.read_ledger(archive)]
    segments = sorted(name for name in store.there if name.startswith(LEDGER_SEGMENTS))
    there = max((_last(name) for name in segments), default=0)
    for name in (n for n in segments if _last(n) == there):
        content = store.container.read(name)
        if b"".join(local[_first(name) - 1 : there]) != content:
            raise RecordError(
                f"{store.container.url} contains the ledger of another archive: {name} differs from the lines "
                "here. Publish to an empty container, or verify both archives"
            )
    if len(local) > there:
        store.put(f"{LEDGER_SEGMENTS}{there + 1:06d}-{len(local):06d}.jsonl", b"".join(local[there:]))
    return len(local)


def _wanted(archive: Path, folders: Sequence[Path], keys: dsse.PublicKeys, published: Published) -> Iterator[Path]:
    """Yield the folders of the runs that may be published; record why the others may not."""
    lines: dict[str, dict[str, ledger.Entry]] = {}
    for entry in ledger.read_ledger(archive):
        lines.setdefault(entry.run, {})[entry.event] = entry
    chosen = {folder.name for folder in folders} or lines.keys()
    for run in sorted(chosen):
        entries = lines.get(run, {})
        if ledger.FINISHED not in entries:
            published.left_out.append(f"{run}: not sealed")
        elif entries[ledger.FINISHED].quarantined:
            published.left_out.append(f"{run}: quarantined, because it may contain a secret")
        else:
            folder = archive / entries[ledger.STARTED].folder
            wrong = next(verify_run(folder, keys, entries), None) if folder.is_dir() else "missing"
            if wrong is None:
                yield folder
            else:
                published.left_out.append(f"{run}: {wrong}")


def _put_run(folder: Path, store: _Store) -> None:
    """Copy one run, its seal last, so that a run with a seal is complete."""
    place = f"{folder.parent.name}/{folder.name}"
    files = sorted((p for p in folder.rglob("*") if p.is_file()), key=lambda p: (p.name == SEAL, p.name))
    if f"{place}/{SEAL}" not in store.there and run_file(place) not in store.there:
        store.container.create(run_file(place), to_parquet(read_row(folder.parent.parent, place)))
    for path in files:
        store.put(f"{place}/{path.relative_to(folder).as_posix()}", path.read_bytes())


def _fetch(archive: Path, name: str, container: "Container") -> None:
    """Copy a blob; one with an unsafe name becomes an empty file in the archive, which verification reports."""
    safe = all(part not in {"", ".", ".."} and "\\" not in part for part in name.split("/"))
    path = archive / (name if safe else f"stray {quote(name, safe='')}")
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(container.read(name) if safe else b"")


def _join(container: "Container", names: Iterable[str]) -> bytes:
    """Join the ledger's segments; of overlapping ones, take the lines that are new."""
    lines: list[bytes] = []
    for name in sorted(n for n in names if n.startswith(LEDGER_SEGMENTS)):
        first, content = _first(name), container.read(name).splitlines(keepends=True)
        if first > len(lines) + 1:
            break
        lines += content[len(lines) + 1 - first :]
    return b"".join(lines)


def _first(segment: str) -> int:
    return int(Path(segment).stem.split("-")[0])


def _last(segment: str) -> int:
    return int(Path(segment).stem.split("-")[1])
