"""Keys: who signs a run, and whose signatures are believed.

The signing key is Ed25519, looked for in this order: the PEM file that ``OPSLIB_SIGNING_KEY_FILE`` names; the
variable ``OPSLIB_SIGNING_KEY`` (a PEM, or a reference ``keyvault:NAME``); this user's own key, made at first use.

A file of public keys may say above a PEM for which time it is believed, one line each: ``not-before:``,
``not-after:`` (the key was replaced), ``revoked:`` (somebody else may have it), with an ISO 8601 time.

A key that came with the archive itself (``KEYS/``) proves only that nobody *without* a key changed a run: who can
write to the archive can put a key there too. Against them verify with keys that were kept elsewhere (``--keys``).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError
from opslib.evidence.run.files import KEYS
from opslib.evidence.run.record import write_atomically

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

FILE_VARIABLE = "OPSLIB_SIGNING_KEY_FILE"
TEXT_VARIABLE = "OPSLIB_SIGNING_KEY"
TRUSTED_VARIABLE = "OPSLIB_TRUSTED_KEYS"

SIGNING_VARIABLES = frozenset({FILE_VARIABLE, TEXT_VARIABLE})
"""What no kernel is told: its code is what the key attests."""


@dataclass(frozen=True)
class SigningKey:
    """A private key and the id under which its public part is known."""

    private: "Ed25519PrivateKey" = field(repr=False)
    id: str
    origin: str


@dataclass(frozen=True)
class PublicKey:
    """A public key, and the time whose signatures by it are believed; None is no limit.

    `revoked` differs from `not_after`: whoever has the key since can write any time into what they sign. `who`
    names the person whose key it is, where it is one's.
    """

    key: "Ed25519PublicKey"
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None
    who: str = ""

    def objection(self, signed_at: datetime, seen_at: datetime | None) -> str:
        """Say why a signature is not believed; empty where it is.

        Parameters
        ----------
        signed_at
            When it says that it was made.
        seen_at
            When somebody else is known to have seen it: a time stamp authority, or another key that signed the
            ledger after it. None where nobody has.
        """
        if self.not_before and signed_at < self.not_before:
            return (
                f"signed at {_shown(signed_at)}, before its key was in use (not-before {_shown(self.not_before)})"
            )
        if self.not_after and signed_at > self.not_after:
            return f"signed at {_shown(signed_at)}, after its key was replaced (not-after {_shown(self.not_after)})"
        if self.revoked and signed_at > self.revoked:
            return f"signed at {_shown(signed_at)}, after its key was revoked ({_shown(self.revoked)})"
        if self.revoked and (seen_at is None or seen_at > self.revoked):
            return f"its key was revoked ({_shown(self.revoked)}), and nobody else saw the signature before that"
        return ""


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


def store_public_key(archive: Path, key: SigningKey) -> str:
    """Write the public part of a key beside the archive; return what a person must know, the first time only."""
    path = archive / KEYS / f"{key.id}.pem"
    if path.exists():
        return ""
    path.parent.mkdir(parents=True, exist_ok=True)
    write_atomically(path, public_pem(key.private.public_key()), redacted=False, drafts=archive)
    return (
        f"runs are now signed by {key.id[:16]} ({key.origin}). Its public part is {path}: keep a copy where those "
        "who can write to the archive cannot, and verify with it (opslib verify --keys FILE)"
    )


def read_public_keys(paths: Iterable[Path]) -> dict[str, PublicKey]:
    """Read public keys by id; a file may hold several PEMs, each with its limits above it.

    Raises
    ------
    RecordError
        If a file cannot be read or holds anything but Ed25519 public keys and their limits.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    keys: dict[str, PublicKey] = {}
    for path in paths:
        for words, pem in _split(_read(path), path):
            try:
                key = load_pem_public_key(pem)
            except (ValueError, UnsupportedAlgorithm) as error:
                raise RecordError(f"{path} does not hold public keys in PEM: {error}") from error
            if not isinstance(key, Ed25519PublicKey):
                raise RecordError(f"{path} holds a {type(key).__name__}; expected Ed25519 public keys")
            keys[key_id(key)] = _limited(PublicKey(key), words, path)
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


def _split(text: bytes, path: Path) -> Iterator[tuple[str, bytes]]:
    """What stands above each PEM, and the PEM."""
    begin, end = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
    *parts, rest = text.split(end)
    if rest.strip() or not parts:
        raise RecordError(f"{path} does not hold public keys in PEM, or more than that")
    for part in parts:
        words, found, base64 = part.partition(begin)
        yield words.decode("utf-8", "replace"), found + base64 + end


def _limited(key: PublicKey, words: str, path: Path) -> PublicKey:
    """A key with what is said of it; a word that is none would leave it unlimited, unnoticed."""
    for line in words.splitlines():
        name, _, said = (part.strip() for part in line.partition(":"))
        try:
            match name.lower():
                case "not-before":
                    key = replace(key, not_before=_time(said))
                case "not-after":
                    key = replace(key, not_after=_time(said))
                case "revoked":
                    key = replace(key, revoked=_time(said))
                case "who" if said:
                    key = replace(key, who=said)
                case _ if line.strip() and not line.startswith("#"):
                    raise ValueError(line)
        except ValueError as error:
            raise RecordError(
                f"{path} says of a key {error}: expected not-before, not-after, revoked (an ISO 8601 time after a "
                "colon) or who; # begins a comment"
            ) from error
    return key


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _shown(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
