"""Keys: who signs a run, and whose signatures are believed.

The signing key is Ed25519, looked for in this order: the PEM file that ``OPSLIB_SIGNING_KEY_FILE`` names; the
variable ``OPSLIB_SIGNING_KEY`` (a PEM, or a reference ``keyvault:NAME``); this user's own key, made at first use.

A key that came with the archive itself (``KEYS/``) proves only that nobody *without* a key changed a run: who can
write to the archive can put a key there too. Against them verify with keys that were kept elsewhere (``--keys``).
"""

import hashlib
import os
from collections.abc import Iterable
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FILE_VARIABLE = "OPSLIB_SIGNING_KEY_FILE"
TEXT_VARIABLE = "OPSLIB_SIGNING_KEY"
TRUSTED_VARIABLE = "OPSLIB_TRUSTED_KEYS"
FOLDER = "KEYS"

SIGNING_VARIABLES = frozenset({FILE_VARIABLE, TEXT_VARIABLE})
"""What no kernel is told: its code is what the key attests."""


@dataclass(frozen=True)
class SigningKey:
    """A private key and the id under which its public part is known."""

    private: "Ed25519PrivateKey" = field(repr=False)
    id: str
    origin: str


def find_signing_key() -> SigningKey:
    """Find the runner's key; make one for this user where none is configured.

    Raises
    ------
    RecordError
        If the configured key is not there or is no Ed25519 key.
    """
    file, text = os.environ.get(FILE_VARIABLE), os.environ.get(TEXT_VARIABLE)
    if file:
        return _load(_read(Path(file)), f"file {file}")
    if text:
        if text.startswith("-----BEGIN"):
            return _load(text.replace("\\n", "\n").encode(), f"variable {TEXT_VARIABLE}")
        from opslib.azure.secrets import resolve  # noqa: PLC0415 - only for a key that stands in a vault

        return _load(resolve(text).encode(), text)
    path = config_folder() / "signing-key.pem"
    if not path.exists():
        _make(path)
    return _load(_read(path), f"this user's own key {path}")


def config_folder() -> Path:
    """The folder of this user's settings."""
    base = os.environ.get("XDG_CONFIG_HOME")
    return (Path(base) if base else Path.home() / ".config") / "opslib"


def list_key(archive: Path, key: SigningKey) -> str:
    """Write the public part of a key beside the archive; return what a person must know, the first time only."""
    path = archive / FOLDER / f"{key.id}.pem"
    if path.exists():
        return ""
    from opslib.evidence.record import write_atomically  # noqa: PLC0415 - record imports what imports this

    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, public_pem(key.private.public_key()), redacted=False, drafts=archive)
    return (
        f"runs are now signed by {key.id[:16]} ({key.origin}). Its public part is {path}: keep a copy where those "
        "who can write to the archive cannot, and verify with it (opslib verify --keys FILE)"
    )


def read_public_keys(paths: Iterable[Path]) -> dict[str, "Ed25519PublicKey"]:
    """Read public keys by id; a file may hold several PEMs.

    Raises
    ------
    RecordError
        If a file cannot be read or holds anything but Ed25519 public keys.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    keys: dict[str, Ed25519PublicKey] = {}
    for path in paths:
        for pem in _split(_read(path)):
            try:
                key = load_pem_public_key(pem)
            except (ValueError, UnsupportedAlgorithm) as error:
                raise RecordError(f"{path} does not hold public keys in PEM: {error}") from error
            if not isinstance(key, Ed25519PublicKey):
                raise RecordError(f"{path} holds a {type(key).__name__}; expected Ed25519 public keys")
            keys[key_id(key)] = key
    return keys


def pinned_keys() -> list[Path]:
    """Files of keys that this user believes: ``OPSLIB_TRUSTED_KEYS``, else ``trusted-keys.pem`` of the settings."""
    configured = os.environ.get(TRUSTED_VARIABLE)
    path = Path(configured) if configured else config_folder() / "trusted-keys.pem"
    return [path] if configured or path.exists() else []


def own_key_id() -> str:
    """Id of the key that this user would sign with, where it is a file; empty where none was made yet."""
    path = Path(os.environ.get(FILE_VARIABLE) or config_folder() / "signing-key.pem")
    return _load(_read(path), str(path)).id if path.is_file() else ""


def key_id(key: "Ed25519PublicKey") -> str:
    """The id of a public key: SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def public_pem(key: "Ed25519PublicKey") -> str:
    """A public key as PEM, as `openssl pkey -pubin` reads it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _load(pem: bytes, origin: str) -> SigningKey:
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_private_key  # noqa: PLC0415

    try:
        private = load_pem_private_key(pem, password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm) as error:
        raise RecordError(
            f"the signing key ({origin}) cannot be used: expected an unencrypted PKCS#8 PEM, as "
            f"`openssl genpkey -algorithm ed25519` makes it: {error}"
        ) from None
    if not isinstance(private, Ed25519PrivateKey):
        raise RecordError(f"the signing key ({origin}) is a {type(private).__name__}; expected Ed25519")
    return SigningKey(private, key_id(private.public_key()), origin)


def _make(path: Path) -> None:
    """Make this user's key; of two that try at once, the first wins."""
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


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        raise RecordError(f"the key {path} cannot be read: {error.strerror}") from error


def _split(text: bytes) -> list[bytes]:
    end = b"-----END PUBLIC KEY-----"
    return [part + end for part in text.split(end) if part.strip()]
