"""Where the prepared process listens: on a socket in a folder that only its user can enter."""

import os
import socket
import stat
import struct
import sys
from contextlib import suppress
from pathlib import Path
from zlib import crc32

from opslib.errors import ConnectError

PACKAGE = Path(__file__).parents[1]

READY = b"ready"
"""What the prepared process reports once clients can connect."""

RUN = "opslib"
"""What `ps -o comm` shows of a fork that has become a run."""

TIMEOUT_S = 2.0
"""Longest wait for the prepared process to take a command; then this process runs it [seconds]."""


def find_folder() -> Path:
    """Return the folder of the socket and the log: of the login session, where the system has one."""
    runtime = os.environ.get("XDG_RUNTIME_DIR")
    return Path(runtime) / "opslib" if runtime else Path(f"/tmp/opslib-{os.getuid()}")  # noqa: S108 - see require_private


def find_socket() -> Path:
    """Return the path of the socket; an installation of opslib has one of its own."""
    return find_folder() / f"warm-{crc32(f'{sys.prefix} {PACKAGE}'.encode()):08x}.socket"


def has_socket() -> bool:
    """Return whether there is a socket; not where the folder is another user's, which cannot be looked into."""
    try:
        return find_socket().exists()
    except OSError:
        return False


def log_of(path: Path) -> Path:
    """Return the path of the log of the process that listens on a socket."""
    return path.with_suffix(".log")


def require_private(path: Path) -> None:
    """Raise unless a path is this user's, is no link, and is closed to all others.

    Raises
    ------
    ConnectError
        Another user could have made it, to receive what is handed over.
    """
    try:
        found = path.lstat()
    except OSError as error:
        raise ConnectError(f"{path} cannot be used: {error.strerror}") from error
    if found.st_uid != os.getuid() or stat.S_ISLNK(found.st_mode) or found.st_mode & 0o077:
        raise ConnectError(f"{path} must belong to this user, be no link and be closed to others (0700, 0600)")


def connect() -> socket.socket:
    """Connect to the prepared process.

    Raises
    ------
    ConnectError, OSError
        If there is none, or it is not this user's.
    """
    path = find_socket()
    for one in (path.parent, path):
        require_private(one)
    connection = socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    try:
        connection.settimeout(TIMEOUT_S)
        connection.connect(str(path))
        if peer_of(connection)[1] != os.getuid():
            raise ConnectError(f"the process that listens on {path} is another user's")
    except BaseException:
        connection.close()
        raise
    return connection


def peer_of(connection: socket.socket) -> tuple[int, int]:
    """Return the process and the user at the other end, as the kernel knows them."""
    found = connection.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, struct.calcsize("3i"))
    process, user, _ = struct.unpack("3i", found)
    return process, user


def send_code(connection: socket.socket, code: int) -> None:
    """Send a client the exit code of its run, unless it has ended."""
    with suppress(OSError):
        connection.send(str(code).encode(), socket.MSG_DONTWAIT)
