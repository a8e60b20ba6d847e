"""Verify the folders of an archive against its ledger: each run, and what is there or missing beside them."""

import os
import re
import stat
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.archive import ledger
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import CHECKPOINTS, KEYS, LEDGER, MONTH_GLOB, MONTH_PATTERN, README
from opslib.evidence.signing.findings import VerifyFinding, incomplete, tampered
from opslib.evidence.verify.baseline import Baseline
from opslib.evidence.verify.chain import Chain
from opslib.evidence.verify.trust import Trust
from opslib.evidence.verify.verify_run import verify_open, verify_run, walk
from opslib.processes import map_over_cores

_MONTH = re.compile(MONTH_PATTERN)

OWN = frozenset({LEDGER, CHECKPOINTS, KEYS, README})
"""The entries of an archive beside its months. ``README.md`` and names that start with a dot (index, locks) are not
evidence and are not verified."""


def verify_folders(
    archive: Path, runs: Sequence[str], chain: Chain, trust: Trust, *, missing_is_tampered: bool
) -> Iterator[VerifyFinding]:
    """Verify the folders of runs, over the cores of the machine."""

    def work(some: Sequence[str]) -> list[VerifyFinding]:
        linked = frozenset(month.name for month in archive.glob(MONTH_GLOB) if month.is_symlink())
        return [f for run in some for f in _verify_one(archive, run, chain, trust, (linked, missing_is_tampered))]

    return map_over_cores(work, runs)


def find_removed(
    archive: Path, chain: Chain, baseline: Baseline, checkpoints: int, missing_is_tampered: bool
) -> Iterator[VerifyFinding]:
    """Yield findings on what a baseline covers and is missing now; what is there is not read."""
    if checkpoints != baseline.checkpoints:
        yield tampered(
            f"{checkpoints} files up to line {baseline.checkpoint_lines}, {baseline.checkpoints} in the baseline: "
            "checkpoints were removed or added",
            file=CHECKPOINTS,
        )
    months = [month for month in archive.glob(MONTH_GLOB) if month.is_dir()]
    there = {f"{month.name}/{name}" for month in months for name in _names(month)}
    for folder in sorted(chain.verified - there):
        run = folder.rpartition("/")[2]
        yield tampered("the folder was removed", run) if missing_is_tampered else incomplete("missing", run)


def _verify_one(
    archive: Path, run: str, chain: Chain, trust: Trust, reading: tuple[frozenset[str], bool]
) -> Iterable[VerifyFinding]:
    """Verify a run; `reading` is the months that are links, and whether a missing folder is tampering."""
    linked, missing_is_tampered = reading
    lines = chain.runs.get(run, {})
    if "started" not in lines:
        return [tampered("not in the ledger", run)] if not lines else []
    started, finished = lines["started"], lines.get("finished")
    folder = archive / started.folder
    mode = _mode(folder)
    if stat.S_ISLNK(mode) or folder.parent.name in linked:
        return [tampered("the folder is a link", run)]
    if finished is None:
        alive = run_lock.is_held(folder)
        finished = None if alive else _now(archive, run).get("finished")
        if finished is None:
            return verify_open(folder, trust.keys, started, alive=alive)
        lines = {**lines, "finished": finished}  # it ended during this verification
    if not stat.S_ISDIR(mode):
        if missing_is_tampered:
            return [tampered("the folder was removed", run)]
        return [] if finished.quarantined else [incomplete("missing", run)]
    return verify_run(folder, trust.keys, lines, chain.seen_at, trust.approvers)


def _mode(path: Path) -> int:
    """Return the type of what is at a path; 0 for nothing."""
    try:
        return os.lstat(path).st_mode
    except OSError:
        return 0


def find_unexpected(archive: Path, chain: Chain) -> Iterator[VerifyFinding]:
    """Yield findings on files and folders in the archive that are not in the ledger."""
    known = {lines["started"].folder for lines in chain.runs.values() if "started" in lines} | chain.verified
    for path in sorted(archive.iterdir()):
        if path.name in OWN or path.name.startswith(".") or _is_loose_notebook(path):
            continue
        if path.is_symlink() or not path.is_dir() or not _MONTH.fullmatch(path.name):
            yield tampered("unexpected file", file=path.name)
            continue
        for inner in (path / name for name in sorted(_names(path)) if f"{path.name}/{name}" not in known):
            name = f"{path.name}/{inner.name}"
            if "started" in _now(archive, inner.name):
                continue
            if inner.is_symlink() or inner.is_file() or any(walk(inner)):
                yield tampered("not in the ledger: it was put there, or its lines were removed", file=name)


def _names(folder: Path) -> list[str]:
    with os.scandir(folder) as entries:
        return [entry.name for entry in entries]


def _is_loose_notebook(path: Path) -> bool:
    """Return whether a path is a notebook that papermill alone wrote here: it is not evidence of a run."""
    return path.suffix == ".ipynb" and path.is_file() and not path.is_symlink()


def _now(archive: Path, run: str) -> dict[str, ledger.Entry]:
    """Return the current lines of a run, which may have started or ended during this verification."""
    try:
        return ledger.find_entries(archive, run)
    except RecordError:
        return {}
