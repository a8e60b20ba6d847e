"""Publication: copy sealed runs to a blob container, and read a published archive like a local one.

Blobs are created and never overwritten. The ledger, which grows, is copied in segments
(``LEDGER/000001-000042.jsonl``). The order is: keys and ledger, runs (each with its seal last), checkpoints. An
interrupted copy is therefore incomplete but not tampered, and the next one continues it. Before its seal, a run
gets its row in the table of published runs (`opslib.evidence.table`), which is not evidence.
"""

import errno
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
from opslib.evidence.archive.segments import find_chain, segment_lines, segment_name
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, LEDGER_SEGMENTS, SEAL, TABLE
from opslib.evidence.signing import dsse
from opslib.evidence.signing.public_keys import read_public_keys
from opslib.evidence.signing.timestamping import token_path
from opslib.evidence.table.table_files import run_file, to_parquet
from opslib.evidence.verify.verify_run import verify_run

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

THREADS = 8

_NO_NAME_OF_A_FILE = frozenset({errno.EEXIST, errno.EISDIR, errno.ENAMETOOLONG, errno.ENOTDIR})
"""Why a blob's name is none of a file: it is longer, or a folder's, or below a file's."""


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
        If the container contains the ledger of another archive, or another content under the same name; or a file
        of the archive's keys is not one of public keys: then nothing was published.
    """
    store = _Store(container, _listed(folders, container), Published())
    marks, lines = find_checkpoints(archive), list(ledger.read_ledger(archive))
    pems = sorted((archive / KEYS).glob("*.pem"))  # each was written before the lines that it signed
    keys = read_public_keys(pems)  # of a private key nothing may be published
    for path in pems:
        store.put(f"{KEYS}/{path.name}", path.read_bytes())
    _put_ledger(lines, store)
    for folder in _wanted(archive, lines, folders, keys, store.published):
        _put_run(folder, store)
    for path in marks:
        if checkpoint_lines(path) <= len(lines):
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
        if not any(map(segment_lines, names)):
            raise RecordError(f"{container.url} does not contain an archive: {LEDGER_SEGMENTS} is missing")
        others = [n for n in names if not segment_lines(n) and (n.count("/") != 2 or wanted(n))]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name: _fetch(archive, name, container), others))
        (archive / LEDGER).write_bytes(_join(container, names))
        yield archive


def _listed(folders: Sequence[Path], container: "Container") -> Mapping[str, tuple[int, bytes]]:
    """List what the container holds; for a few runs only what these need, however much there is of others."""
    if not folders:
        return container.sizes()
    places = [f"{folder.parent.name}/{folder.name}" for folder in folders]
    prefixes = [LEDGER_SEGMENTS, f"{CHECKPOINTS}/", f"{KEYS}/", *(f"{p}/" for p in places), *map(run_file, places)]
    return {name: size for prefix in prefixes for name, size in container.sizes(prefix).items()}


def _put_ledger(entries: Sequence[ledger.Entry], store: _Store) -> None:
    """Publish the lines of the ledger that are new."""
    local = [entry.line() for entry in entries]
    segments = {name: lines for name in store.there if (lines := segment_lines(name))}
    there = max((last for _, last in segments.values()), default=0)
    for name in (name for name, (_, last) in segments.items() if last == there):
        if b"".join(local[segments[name][0] - 1 : there]) != store.container.read(name):
            raise RecordError(
                f"{store.container.url} contains the ledger of another archive: {name} differs from the lines "
                "here. Publish to an empty container, or verify both archives"
            )
    if len(local) > there:
        store.put(segment_name(there + 1, len(local)), b"".join(local[there:]))


def _wanted(
    archive: Path,
    ledger_lines: Iterable[ledger.Entry],
    folders: Sequence[Path],
    keys: dsse.PublicKeys,
    published: Published,
) -> Iterator[Path]:
    """Yield the folders of the runs that may be published; record why the others may not.

    The lines of the ledger are those that were published: a run that has ended since is left to the next time.
    """
    lines: dict[str, dict[str, ledger.Entry]] = {}
    for entry in ledger_lines:
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
    parts = name.split("/")
    safe = parts[0] != LEDGER and all(part not in {"", ".", ".."} and "\\" not in part for part in parts)
    stray = archive / f"stray {quote(name, safe='')[:200]}"
    path = archive / name if safe else stray
    content = container.read(name) if safe else b""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    except OSError as error:
        if error.errno not in _NO_NAME_OF_A_FILE:
            raise
        stray.write_bytes(b"")


def _join(container: "Container", names: Iterable[str]) -> bytes:
    """Join the ledger's segments; of overlapping ones, take the lines that are new."""
    lines: list[bytes] = []
    for name, first in find_chain(names):
        content = container.read(name).splitlines(keepends=True)
        if first > len(lines) + 1:
            break
        lines += content[len(lines) + 1 - first :]
    return b"".join(lines)
