"""The runs of a published ledger, to compare the table of runs with. The ledger's chain is not verified here."""

import hashlib
import tempfile
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError
from opslib.evidence.archive.segments import find_chain
from opslib.evidence.run.files import LEDGER_SEGMENTS
from opslib.evidence.table.engine import opened
from opslib.evidence.table.file_cache import THREADS, FileCache

if TYPE_CHECKING:
    from opslib.azure.blob_container import Container

_LINES = """
SELECT run, folder, outcome, quarantined, attestation_sha256, event = 'finished' AS finished
FROM read_json({files}, format = 'newline_delimited', columns = {{
  event: 'VARCHAR', run: 'VARCHAR', folder: 'VARCHAR', outcome: 'VARCHAR', quarantined: 'BOOLEAN',
  attestation_sha256: 'VARCHAR'}})
"""

_RUNS = """
COPY (
  SELECT run, max(folder) AS folder, max(outcome) AS outcome, bool_or(coalesce(quarantined, false)) AS quarantined,
    max(attestation_sha256) AS attestation_sha256, bool_or(finished) AS finished
  FROM ({lines}) GROUP BY run ORDER BY folder
) TO '{target}' (FORMAT parquet, COMPRESSION zstd)
"""


def ledger_runs(container: "Container", cache: FileCache) -> Path:
    """Return a Parquet file with one row per run of the published ledger; only new segments are read.

    Raises
    ------
    RecordError
        If the container holds no ledger, or a line of it is not valid.
    """
    etags = container.etags(LEDGER_SEGMENTS)
    segments = [name for name, _ in find_chain(etags)]
    if not segments:
        raise RecordError(f"{container.url} does not contain an archive: {LEDGER_SEGMENTS} is missing")
    targets = _targets(cache, etags, segments)
    known = next((count for count in range(len(segments), 0, -1) if targets[count - 1].exists()), 0)
    if known < len(segments):
        _write(container, cache, segments[known:], targets[known - 1] if known else None, targets[-1])
        for path in cache.folder.glob("ledger-*.parquet"):
            if path != targets[-1]:
                path.unlink(missing_ok=True)
    return targets[-1]


def _write(
    container: "Container", cache: FileCache, segments: Sequence[str], earlier: Path | None, target: Path
) -> None:
    """Write the runs of the segments, and of the earlier ones; another process may do the same at once."""
    with tempfile.TemporaryDirectory(prefix="ledger-", dir=cache.folder) as scratch:
        fetched = [Path(scratch) / Path(name).name for name in segments]
        with ThreadPoolExecutor(THREADS) as pool:
            list(pool.map(lambda name, path: path.write_bytes(container.read(name)), segments, fetched))
        lines = _LINES.format(files=f"[{', '.join(map(_quoted, fetched))}]")
        if earlier:
            lines += f" UNION ALL SELECT * FROM read_parquet({_quoted(earlier)})"  # noqa: S608 - ours
        draft = Path(scratch) / target.name
        try:
            with opened({}, writes=True) as connection:
                connection.execute(_RUNS.format(lines=lines, target=str(draft).replace("'", "''")))
        except RecordError as error:
            raise RecordError(f"the published ledger cannot be read: {error}. Run opslib verify") from error
        draft.replace(target)


def _targets(cache: FileCache, etags: Mapping[str, str], segments: Sequence[str]) -> list[Path]:
    """Return the file of the first segment, of the first two, and so on to that of all."""
    digest, paths = hashlib.sha256(), []
    for name in segments:
        digest.update(f"{name} {etags[name]}\n".encode())
        paths.append(cache.folder / f"ledger-{digest.hexdigest()[:40]}.parquet")
    return paths


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
