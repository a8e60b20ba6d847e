"""The key that signs runs.

It is an Ed25519 key, from the first of these that is configured: the PEM file that ``OPSLIB_SIGNING_KEY_FILE``
names; the variable ``OPSLIB_SIGNING_KEY`` (a PEM, or a reference ``keyvault:NAME``); this user's own key, created
at first use.
"""

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError
from opslib.evidence.run.files import KEYS
from opslib.evidence.run.record import write_atomically
from opslib.evidence.signing.key_files import SIGNING_KEY, config_folder, read_key_file
from opslib.evidence.signing.public_keys import key_id, public_pem

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

FILE_VARIABLE = "OPSLIB_SIGNING_KEY_FILE"
TEXT_VARIABLE = "OPSLIB_SIGNING_KEY"
SIGNING_VARIABLES = frozenset({FILE_VARIABLE, TEXT_VARIABLE})
"""Removed from the environment of a kernel: the key attests the kernel's code."""


@dataclass(frozen=True)
class SigningKey:
    """A private key, the id of its public key, and where it came from."""

    private: "Ed25519PrivateKey" = field(repr=False)
    id: str
    origin: str

    def sign(self, message: bytes) -> bytes:
        """Sign a message."""
        return self.private.sign(message)


def find_signing_key() -> SigningKey:
    """Return the key that signs runs; create one for this user if none is configured.

    Raises
    ------
    RecordError
        If the configured key is missing or is not an Ed25519 key.
    """
    file, text = os.environ.get(FILE_VARIABLE), os.environ.get(TEXT_VARIABLE)
    if file:
        return _load(read_key_file(Path(file)), f"file {file}")
    if text:
        if text.startswith("-----BEGIN"):
            return _load(text.replace("\\n", "\n").encode(), f"variable {TEXT_VARIABLE}")
        from opslib.azure.secrets import resolve  # noqa: PLC0415 - needed for a key in a vault only

        return _load(resolve(text).encode(), text)
    path = config_folder() / SIGNING_KEY
    return find_key(path, f"this user's own key {path}")


def find_key(path: Path, origin: str) -> SigningKey:
    """Return the key in a file; make one there if the file does not exist.

    Raises
    ------
    RecordError
        If the file holds no Ed25519 key.
    """
    if not path.exists():
        _make(path)
    return _load(read_key_file(path), origin)


def store_public_key(archive: Path, key: SigningKey) -> str:
    """Write a public key into ``KEYS/``; return a notice for the user if it is new there, else an empty string."""
    path = archive / KEYS / f"{key.id}.pem"
    if path.exists():
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, public_pem(key.private.public_key()), redacted=False, drafts=archive)
    return (
        f"runs are now signed by key {key.id[:16]} ({key.origin}). Its public key is {path}: keep a copy where "
        "people who can write to the archive cannot change it, and verify with it (opslib verify --keys FILE)"
    )


def own_key_id() -> str:
    """Return the id of this user's signing key if it is a file; empty if there is none."""
    path = Path(os.environ.get(FILE_VARIABLE) or config_folder() / SIGNING_KEY)
    return _load(read_key_file(path), str(path)).id if path.is_file() else ""


def _load(pem: bytes, origin: str) -> SigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RecordError(
            f"cannot use the signing key ({origin}): expected an unencrypted PKCS#8 PEM, as "
            f"`openssl genpkey -algorithm ed25519` writes it: {error}"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise RecordError(f"the signing key ({origin}) is a {type(private).__name__}; expected Ed25519")
    return SigningKey(private, key_id(private.public_key()), origin)


def _make(path: Path) -> None:
    """Create a key; if two processes do so at once, both use the first."""
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import (  # noqa: PLC0415
        Encoding,
        NoEncryption,
        PrivateFormat,
    )

    pem = Ed25519PrivateKey.generate().private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    draft = path.with_suffix(f".{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(pem)
        file.flush()
        os.fsync(file.fileno())
    try:
        os.link(draft, path)
    except FileExistsError:
        return
    finally:
        draft.unlink()
