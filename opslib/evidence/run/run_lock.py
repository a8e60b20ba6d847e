"""The lock of a running run: held by the process that runs it, with the disk space that its end needs.

An archive has one lock file for each run. A file that no process locks means that its runner died. Locks are not
evidence.
"""

import contextlib
import errno
import fcntl
import os
from collections.abc import Iterator
from pathlib import Path

from opslib.errors import RecordError
from opslib.evidence.run.files import LOCKS

RESERVE_BYTES = 4 << 20
"""Disk space that a running run reserves in its lock file, so that its end can be written on a full disk. A
notebook with plots, its report and a draft of either take a few hundred kilobytes each [bytes]."""

_DESCRIPTORS: dict[str, int] = {}
"""Descriptors of the locks that this process holds, by run id."""


def archive_of(folder: Path) -> Path:
    """Return the archive that contains a run's folder."""
    return folder.parent.parent


def hold(archive: Path, run: str) -> None:
    """Lock a run until it is released or this process ends."""
    path = archive / LOCKS / run
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        while run not in _DESCRIPTORS:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
            if path.exists() and path.stat().st_ino == os.fstat(descriptor).st_ino:
                _DESCRIPTORS[run] = descriptor
            else:  # its holder removed the file after it was opened here
                os.close(descriptor)
    except BlockingIOError as error:
        os.close(descriptor)
        raise RecordError(f"{run} is running in another process. Wait until it ends, or stop it") from error
    except OSError as error:
        raise RecordError(f"cannot lock the run {run} ({path}): {error}") from error


def reserve(folder: Path) -> None:
    """Reserve disk space for the end of a run, if the file system supports it."""
    if not hasattr(os, "posix_fallocate"):
        return
    try:
        os.posix_fallocate(_DESCRIPTORS[folder.name], 0, RESERVE_BYTES)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            release(folder)
            raise RecordError(
                f"the disk of {folder} is full: the end of a run needs {RESERVE_BYTES >> 20} MiB. "
                "Nothing was changed. Free disk space, then run it again, or name an archive on another disk with "
                "--runs FOLDER"
            ) from error


def is_held(folder: Path) -> bool:
    """Return whether the process that runs a run is alive."""
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
    """Lock a run whose runner died, so that no other process ends it; do nothing if another process holds it."""
    with contextlib.suppress(RecordError):
        hold(archive_of(folder), folder.name)
        free_reserve(folder)


def free_reserve(folder: Path) -> None:
    """Free the disk space that a run of this process reserved, before its end is written."""
    if folder.name in _DESCRIPTORS:
        os.ftruncate(_DESCRIPTORS[folder.name], 0)


@contextlib.contextmanager
def claimed(archive: Path, wave: str, member: int) -> Iterator[None]:
    """Hold one member of a wave during the block; wait while another process holds it.

    A lock of one byte of the wave's file, which falls with its process, also on a network file system.
    """
    path = archive / LOCKS / f"{wave}.members"
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        file = path.open("ab")
        fcntl.lockf(file, fcntl.LOCK_EX, 1, member)
    except OSError as error:
        raise RecordError(f"cannot lock member {member} of the wave {wave} ({path}): {error}") from error
    with file:
        yield


def release(folder: Path) -> None:
    """Unlock a run that has ended."""
    descriptor = _DESCRIPTORS.pop(folder.name, None)
    (archive_of(folder) / LOCKS / folder.name).unlink(missing_ok=True)
    if descriptor is not None:
        os.close(descriptor)
