"""What a process has from its start: a prepared process works only for one that would have started the same."""

import os
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple
from zlib import crc32

from opslib.warm.place import PACKAGE

_VARIABLES = frozenset(
    {"HOME", "LANG", "LANGUAGE", "TZ", "SSLKEYLOGFILE", "XDG_CACHE_HOME", "XDG_CONFIG_HOME", "XDG_DATA_HOME"}
)
_PREFIXES = (
    *(
        "LC_",
        "LD_",
        "GLIBC_",
        "MALLOC_",
        "PYTHON",
        "COVERAGE_",
        "PYDANTIC_",
        "MPL",
        "MATPLOTLIB",
        "JUPYTER_",
        "IPYTHON",
    ),
    *("OPENBLAS_", "OMP_", "MKL_", "BLIS_", "OPENSSL_", "CRYPTOGRAPHY_"),
)
"""Names of variables that take effect once, when a process starts or imports, and are no secrets."""

_STATUS = ("Uid", "Gid", "Groups", "Umask", "CapPrm", "CapEff", "CapBnd", "NoNewPrivs", "Seccomp")
"""Lines of /proc/self/status that a child inherits. Source: proc_pid_status(5)."""


class Conditions(NamedTuple):
    """What decides how a process behaves, and cannot be changed in it later."""

    interpreter: str
    sources: str
    packages: str
    user: str
    namespaces: str
    limits: str
    variables: dict[str, str]

    def differing(self, other: "Conditions") -> list[str]:
        """Return the names of what differs."""
        return [name for name, mine, its in zip(self._fields, self, other, strict=True) if mine != its]


def find_conditions() -> Conditions:
    """Return the conditions of this process, as they are now."""
    python, flags = Path(sys.executable), sys.flags
    return Conditions(
        interpreter=f"{python} {sys.version} {python.stat().st_mtime_ns} {flags.optimize} {flags.dev_mode}",
        sources=_digest(_sources(str(PACKAGE))),
        packages=_digest(_packages()),
        user=" ".join(_status()),
        namespaces=" ".join(os.readlink(f"/proc/self/ns/{one}") for one in ("mnt", "net", "pid", "user")),  # noqa: PTH115 - every run does it
        limits=" ".join(_limits()),
        variables=start_variables(),
    )


def start_variables() -> dict[str, str]:
    """Return the environment variables that take effect when a process starts."""
    return {
        name: value
        for name, value in sorted(os.environ.items())
        if name in _VARIABLES or name.startswith(_PREFIXES)
    }


def _digest(files: Iterator[tuple[str, int, int]]) -> str:
    """Return how many files there are, the newest change of one, and a checksum over all."""
    found = sorted(files)
    return f"{len(found)} {max(changed for _, changed, _ in found)} {crc32(repr(found).encode()):08x}"


def _sources(folder: str) -> Iterator[tuple[str, int, int]]:
    """Yield name, time of change and size of the modules of a package."""
    with os.scandir(folder) as entries:
        for entry in entries:
            if entry.name.endswith(".py"):
                found = entry.stat()
                yield entry.path, found.st_mtime_ns, found.st_size
            elif entry.is_dir(follow_symlinks=False) and entry.name != "__pycache__":
                yield from _sources(entry.path)


def _packages() -> Iterator[tuple[str, int, int]]:
    """Yield the installed distributions, whose folders pip makes again for each version."""
    for folder in sys.path:
        if not folder.endswith("-packages"):
            continue
        with os.scandir(folder) as entries:
            for entry in entries:
                if entry.name.endswith((".dist-info", ".pth")):
                    yield entry.path, entry.stat().st_mtime_ns, 0


def _limits() -> Iterator[str]:
    """Yield the limits of resources, the priority and the processors of this process."""
    yield Path("/proc/self/limits").read_text(encoding="ascii")
    yield str(os.getpriority(os.PRIO_PROCESS, 0))
    yield str(sorted(os.sched_getaffinity(0)))


def _status() -> Iterator[str]:
    lines = Path("/proc/self/status").read_text(encoding="ascii", errors="replace").splitlines()
    return (line for line in lines if line.startswith(_STATUS))
