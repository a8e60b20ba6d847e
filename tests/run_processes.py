"""The processes of a run, as /proc shows them."""

from collections.abc import Iterator
from pathlib import Path

from opslib.runner.fork_serving import FOLDER_DESCRIPTOR


def kernels_of(folder: Path) -> list[int]:
    """The kernel that writes into a run's folder, which it keeps open, and the processes that it started."""
    marker = f"OPSLIB_RUN_FOLDER={folder}".encode()
    return [
        int(process.name)
        for process in _processes()
        if marker in _read(process / "environ").split(b"\0") or _keeps_open(process, folder)
    ]


def guardians_of(folder: Path) -> list[int]:
    """The guardian of a run, which bears the last six characters of the run's id."""
    name = f"guard-{folder.name[-6:]}\n".encode()
    return [int(process.name) for process in _processes() if _read(process / "comm") == name]


def _processes() -> Iterator[Path]:
    return Path("/proc").glob("[0-9]*")


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError:
        return b""  # it has ended


def _keeps_open(process: Path, folder: Path) -> bool:
    try:
        return (process / "fd" / str(FOLDER_DESCRIPTOR)).readlink() == folder
    except OSError:
        return False
