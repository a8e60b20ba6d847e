"""The runs of a published ledger, to compare the table of runs with. The ledger's chain is not verified here."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError
from opslib.evidence.run.files import LEDGER_SEGMENTS
from opslib.evidence.table.engine import opened
from opslib.evidence.table.file_cache import FileCache

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
    segments = _chain(etags)
    if not segments:
        raise RecordError(f"{container.url} does not contain an archive: {LEDGER_SEGMENTS} is missing")
    targets = [_target(cache, etags, segments[: count + 1]) for count in range(len(segments))]
    known = next((count for count in range(len(segments), 0, -1) if targets[count - 1].exists()), 0)
    if known < len(segments):
        fetched = cache.fetch(etags, segments[known:])
        _write(targets[-1], targets[known - 1] if known else None, list(fetched.values()))
        for path in (*fetched.values(), *cache.folder.glob("ledger-*.parquet")):
            if path != targets[-1]:
                path.unlink(missing_ok=True)
    return targets[-1]


def _write(target: Path, earlier: Path | None, segments: Sequence[Path]) -> None:
    files = ", ".join(_quoted(path) for path in segments)
    lines = _LINES.format(files=f"[{files}]")
    if earlier:
        lines += f" UNION ALL SELECT * FROM read_parquet({_quoted(earlier)})"  # noqa: S608 - ours
    draft = target.with_suffix(".draft")
    try:
        with opened({}, writes=True) as connection:
            connection.execute(_RUNS.format(lines=lines, target=str(draft).replace("'", "''")))
    except RecordError as error:
        raise RecordError(f"the published ledger cannot be read: {error}. Run opslib verify") from error
    draft.replace(target)


def _chain(etags: Mapping[str, str]) -> list[str]:
    """Return the segments that together are the ledger, each of them beginning after the end of the one before."""
    chosen: list[str] = []
    last = 0
    for name in sorted(etags, key=lambda name: (_lines(name)[0], -_lines(name)[1])):
        first, end = _lines(name)
        if first <= last + 1 and end > last:
            chosen.append(name)
            last = end
    return chosen


def _lines(segment: str) -> tuple[int, int]:
    """Return the first and the last line of a segment, as its name states them."""
    first, _, last = Path(segment).stem.partition("-")
    return (int(first), int(last)) if first.isdecimal() and last.isdecimal() else (1, 0)


def _target(cache: FileCache, etags: Mapping[str, str], segments: Sequence[str]) -> Path:
    digest = hashlib.sha256("\n".join(f"{name} {etags[name]}" for name in segments).encode()).hexdigest()
    return cache.folder / f"ledger-{digest[:40]}.parquet"


def _quoted(path: Path) -> str:
    return "'" + str(path).replace("'", "''") + "'"
