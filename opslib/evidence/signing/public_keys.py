"""Public keys whose signatures are trusted, and for which time.

In a file of public keys, lines above a PEM limit the time for which the key is trusted: ``not-before:``,
``not-after:`` (the key was replaced), ``revoked:`` (another person may have it), each with an ISO 8601 time.

The archive's own copy of the keys (``KEYS/``) is not proof against a person who can write to the archive: they can
add a key and sign with it. To detect that, verify with keys that are kept elsewhere (``--keys``).
"""

import hashlib
import os
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError
from opslib.evidence.signing.key_files import TRUSTED_KEYS, config_folder, read_key_file
from opslib.evidence.signing.sshsig import SshKey, is_ssh_signature
from opslib.evidence.signing.sshsig import verify as verify_ssh

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

TRUSTED_VARIABLE = "OPSLIB_TRUSTED_KEYS"


@dataclass(frozen=True)
class PublicKey:
    """A public key, and the time for which its signatures are trusted; None means no limit.

    `revoked` is stricter than `not_after`: a person who stole the key can write any time into what they sign. `who`
    is the key's owner, for an approver's key; `ssh` is the key as ssh knows it, for an approver with one.
    """

    key: "Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey"
    not_before: datetime | None = None
    not_after: datetime | None = None
    revoked: datetime | None = None
    who: str = ""
    ssh: SshKey | None = None

    def verify(self, signature: bytes, message: bytes) -> None:
        """Verify a signature, of ssh or a bare one of Ed25519.

        Raises
        ------
        RecordError
            If it is wrong.
        """
        from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - importing takes 0.1 s
        from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415

        if self.ssh is not None and is_ssh_signature(signature):
            verify_ssh(signature, message, self.ssh)
            return
        try:
            if not isinstance(self.key, Ed25519PublicKey):
                raise RecordError("not a signature of ssh, which this key makes")
            self.key.verify(signature, message)
        except InvalidSignature as error:
            raise RecordError("the signature is wrong: the payload was changed after it was signed") from error

    def objection(self, signed_at: datetime, seen_at: datetime | None) -> str:
        """Return why a signature is not trusted; empty if it is trusted.

        Parameters
        ----------
        signed_at
            The signing time, as the signer recorded it.
        seen_at
            The earliest independent time for it: from a time stamp authority, or from another key that signed the
            ledger later. None without one.
        """
        if self.not_before and signed_at < self.not_before:
            return f"signed at {_utc(signed_at)}, before its key was in use (not-before {_utc(self.not_before)})"
        if self.not_after and signed_at > self.not_after:
            return f"signed at {_utc(signed_at)}, after its key was replaced (not-after {_utc(self.not_after)})"
        if self.revoked and signed_at > self.revoked:
            return f"signed at {_utc(signed_at)}, after its key was revoked ({_utc(self.revoked)})"
        if self.revoked and (seen_at is None or seen_at > self.revoked):
            return f"its key was revoked ({_utc(self.revoked)}), and no independent time is earlier than that"
        return ""


def read_public_keys(paths: Iterable[Path]) -> dict[str, PublicKey]:
    """Read public keys by id; a file may contain several PEMs, each with its limits above it.

    Raises
    ------
    RecordError
        If a file cannot be read or contains anything but Ed25519 public keys and their limits.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey  # noqa: PLC0415
    from cryptography.hazmat.primitives.serialization import load_pem_public_key  # noqa: PLC0415

    keys: dict[str, PublicKey] = {}
    for path in paths:
        for words, pem in _split(read_key_file(path), path):
            try:
                key = load_pem_public_key(pem)
            except (ValueError, UnsupportedAlgorithm) as error:
                raise RecordError(f"{path} does not contain public keys in PEM: {error}") from error
            if not isinstance(key, Ed25519PublicKey):
                raise RecordError(f"{path} contains a {type(key).__name__}; expected Ed25519 public keys")
            keys[key_id(key)] = _limited(PublicKey(key), words, path)
    return keys


def pinned_keys() -> list[Path]:
    """Return files of trusted keys: ``OPSLIB_TRUSTED_KEYS``, else ``trusted-keys.pem`` of the settings."""
    configured = os.environ.get(TRUSTED_VARIABLE)
    path = Path(configured) if configured else config_folder() / TRUSTED_KEYS
    return [path] if configured or path.exists() else []


def key_id(key: "Ed25519PublicKey") -> str:
    """Return the id of a public key: the SHA-256 of its 32 bytes."""
    return hashlib.sha256(key.public_bytes_raw()).hexdigest()


def public_pem(key: "Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey") -> str:
    """Return a public key as PEM, as `openssl pkey -pubin` reads it."""
    from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat  # noqa: PLC0415

    return key.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()


def _split(text: bytes, path: Path) -> Iterator[tuple[str, bytes]]:
    """Yield each PEM with the text above it."""
    begin, end = b"-----BEGIN PUBLIC KEY-----", b"-----END PUBLIC KEY-----"
    *parts, rest = text.split(end)
    if not parts:
        raise RecordError(f"{path} does not contain public keys in PEM")
    if rest.strip():
        raise RecordError(f"{path} contains text after its last public key; limits belong above their key")
    for part in parts:
        words, found, base64 = part.partition(begin)
        yield words.decode("utf-8", "replace"), found + base64 + end


def _limited(key: PublicKey, words: str, path: Path) -> PublicKey:
    """Return a key with the limits above it; raise for an unknown line, which would leave the key unlimited."""
    for line in words.splitlines():
        name, _, value = (part.strip() for part in line.partition(":"))
        try:
            match name.lower():
                case "not-before":
                    key = replace(key, not_before=_time(value))
                case "not-after":
                    key = replace(key, not_after=_time(value))
                case "revoked":
                    key = replace(key, revoked=_time(value))
                case "who" if value:
                    key = replace(key, who=value)
                case _ if line.strip() and not line.startswith("#"):
                    raise ValueError(line)
        except ValueError as error:
            raise RecordError(
                f"{path}, above a key: {error}. Expected not-before, not-after or revoked with an ISO 8601 time, "
                "or who with a name, each after a colon; # starts a comment"
            ) from error
    return key


def _time(text: str) -> datetime:
    time = datetime.fromisoformat(text)
    return time if time.tzinfo else time.replace(tzinfo=UTC)


def _utc(time: datetime) -> str:
    return f"{time.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
