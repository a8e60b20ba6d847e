"""The files of keys in this user's settings, and how a file of keys is read."""

import os
from pathlib import Path

from opslib.errors import RecordError

SIGNING_KEY = "signing-key.pem"
TRUSTED_KEYS = "trusted-keys.pem"
APPROVERS = ("approvers.pem", "allowed_signers")


def config_folder() -> Path:
    """Return the folder of this user's settings."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "opslib"


def read_key_file(path: Path) -> bytes:
    """Read a file of keys.

    Raises
    ------
    RecordError
        If it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"cannot read the key {path}: {error.strerror}") from error
