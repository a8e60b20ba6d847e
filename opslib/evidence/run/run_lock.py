"""The lock of a run under way: which process runs it, and the disk space that its end needs."""

import contextlib
import errno
import fcntl
import os
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.run.files import LOCKS

RESERVE_BYTES = 4 << 20
"""Room on the disk that a run under way keeps in its lock file, so that its end can be written when the disk is
full; a notebook with its plots, its report and a draft of either take some hundred kilobytes each [bytes]."""

_DESCRIPTORS: dict[str, int] = {}
"""Lock descriptors of the runs that this process holds, by run id."""


def archive_of(folder: Path) -> Path:
    """The archive that a run's folder stands in."""
    return folder.parent.parent


def hold(archive: Path, run: str) -> None:
    """Lock a run for as long as this process lives, or until it is released."""
    path = archive / LOCKS / run
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while run not in _DESCRIPTORS:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                _DESCRIPTORS[run] = descriptor
            else:  # whoever held it has removed it since we opened it
                os.close(descriptor)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RecordError(f"{run} is under way: another process holds it. Let it end, or stop it") from error
    except OSError as error:
        raise RecordError(f"the run {run} cannot be locked ({path}): {error}") from error


def reserve(folder: Path) -> None:
    """Set room aside; a file system that cannot do that has none set aside."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(_DESCRIPTORS[folder.name], 0, RESERVE_BYTES)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            release(folder)
            raise RecordError(
                f"the disk of {folder} is full: expected room for {RESERVE_BYTES} bytes, without which the end "
                "could not be written. Make room, then run it again"
            ) from error


def is_held(folder: Path) -> bool:
    """Whether the process that runs this run is alive."""
    if folder.name in _DESCRIPTORS:
        return True
    path = archive_of(folder) / LOCKS / folder.name
    try:
        descriptor = os.open(path, os.O_RDONLY)
    except OSError:
        return False
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def take_over(folder: Path) -> None:
    """Hold a run whose runner died, so that nobody else ends it meanwhile; one that is held is left as it is."""
    with contextlib.suppress(RecordError):
        hold(archive_of(folder), folder.name)
        free_reserve(folder)


def free_reserve(folder: Path) -> None:
    """Free what a run that this process holds had set aside: it is about to write its end."""
    if folder.name in _DESCRIPTORS:
        os.ftruncate(_DESCRIPTORS[folder.name], 0)


def release(folder: Path) -> None:
    """Let go of a run that has ended."""
    descriptor = _DESCRIPTORS.pop(folder.name, None)
    (archive_of(folder) / LOCKS / folder.name).unlink(missing_ok=True)
    if descriptor is not None:
        os.close(descriptor)
