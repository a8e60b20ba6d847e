"""SSH signatures (``ssh-keygen -Y sign``): verified here, made by ``ssh-keygen``.

Verification is our own, with `cryptography`: an archive must be verifiable years later, offline, on a machine
without OpenSSH and with the same result whatever its version. Signing is left to ``ssh-keygen``, because it knows
the agent, passphrases and hardware keys.

Sources: https://github.com/openssh/openssh-portable/blob/master/PROTOCOL.sshsig (format), PROTOCOL.u2f (hardware
keys), RFC 4253 section 6.6 and RFC 5656 section 3.1 (signatures), RFC 8332 (RSA with SHA-2).
"""

import base64
import hashlib
import subprocess
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import RecordError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
    from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

NAMESPACE = "opslib-approval"
"""What the signatures are for; one that was made for another purpose is not valid."""

MAGIC = b"SSHSIG"
KEY_TYPES = (
    *("ssh-ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "ecdsa-sha2-nistp521", "ssh-rsa"),
    *("sk-ssh-ed25519@openssh.com", "sk-ecdsa-sha2-nistp256@openssh.com"),
)
_BEGIN, _END = "-----BEGIN SSH SIGNATURE-----", "-----END SSH SIGNATURE-----"
_USER_PRESENT = 0x01


@dataclass(frozen=True)
class SshKey:
    """A public key of ssh: its type, its bytes as ssh sends them, and the key itself."""

    kind: str
    blob: bytes
    key: "Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey"

    @property
    def id(self) -> str:
        """The key's id: for Ed25519 that of the same key in a PEM, else the SHA-256 of its bytes."""
        if self.kind == "ssh-ed25519":
            return hashlib.sha256(self.blob[-32:]).hexdigest()
        return hashlib.sha256(self.blob).hexdigest()


@dataclass(frozen=True)
class SshSigner:
    """A private key that ``ssh-keygen`` uses: a file, or the public key of one that the agent holds."""

    path: Path
    id: str

    def sign(self, message: bytes) -> bytes:
        """Sign a message; ``ssh-keygen`` may prompt for a passphrase or a touch of the hardware key."""
        return _sign(self.path, message)


def find_signer(path: Path) -> SshSigner:
    """Return a signer for a key file, or for the ``.pub`` file of a key that the agent holds.

    Raises
    ------
    RecordError
        If the public key cannot be read, or its type is not supported.
    """
    public = path if path.suffix == ".pub" else path.with_name(f"{path.name}.pub")
    try:
        kind, text, *_ = public.read_text(encoding="utf-8").split()
    except (OSError, ValueError) as error:
        raise RecordError(f"the public key {public} cannot be read: {error}") from error
    return SshSigner(path, read_key(kind, text).id)


def read_key(kind: str, text: str) -> SshKey:
    """Read a public key as it is in an ``authorized_keys`` or ``.pub`` file: its type and its base64.

    Raises
    ------
    RecordError
        If it is not a key of a supported type.
    """
    from cryptography.exceptions import UnsupportedAlgorithm  # noqa: PLC0415 - importing takes 0.1 s
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa  # noqa: PLC0415

    if kind not in KEY_TYPES:
        raise RecordError(f"ssh key type {kind!r} is not supported; expected one of {', '.join(KEY_TYPES)}")
    try:
        blob = base64.b64decode(text, validate=True)
        fields = _Reader(blob)
        if fields.string() != kind.encode():
            raise ValueError("the type in the key differs from the type before it")
        key: Ed25519PublicKey | EllipticCurvePublicKey | RSAPublicKey
        if "ed25519" in kind:
            key = ed25519.Ed25519PublicKey.from_public_bytes(fields.string())
        elif "ecdsa" in kind:
            curve = {b"nistp256": ec.SECP256R1(), b"nistp384": ec.SECP384R1(), b"nistp521": ec.SECP521R1()}
            key = ec.EllipticCurvePublicKey.from_encoded_point(curve[fields.string()], fields.string())
        else:
            exponent, modulus = (int.from_bytes(fields.string(), "big") for _ in range(2))
            key = rsa.RSAPublicNumbers(exponent, modulus).public_key()
    except (ValueError, KeyError, UnsupportedAlgorithm) as error:
        raise RecordError(f"not a public key of type {kind}: {error}") from error
    return SshKey(kind, blob, key)


def is_ssh_signature(signature: bytes) -> bool:
    """Return whether a signature is one of ssh; a bare Ed25519 signature has 64 bytes."""
    return signature.startswith(MAGIC) and len(signature) > 64


def verify(signature: bytes, message: bytes, key: SshKey, namespace: str = NAMESPACE) -> None:
    """Verify a signature (the decoded bytes of its armor) of a message by a trusted key.

    Raises
    ------
    RecordError
        If it is damaged, was made for another purpose, or is not by this key over this message.
    """
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415

    try:
        fields = _Reader(signature.removeprefix(MAGIC))
        version, blob, purpose = fields.number(4), fields.string(), fields.string()
        reserved, algorithm, inner = fields.string(), fields.string(), _Reader(fields.string())
        digest = {b"sha256": hashlib.sha256, b"sha512": hashlib.sha512}[algorithm](message).digest()
        fields.end()
    except (ValueError, KeyError) as error:
        raise RecordError(f"not a signature of ssh: {error!r}") from error
    if version != 1 or blob != key.blob:
        raise RecordError("the signature is of another version, or by another key than it names")
    if purpose != namespace.encode():
        raise RecordError(f"the signature is for {purpose.decode(errors='replace')!r}, expected {namespace!r}")
    signed = MAGIC + b"".join(map(_string, (purpose, reserved, algorithm, digest)))
    try:
        _check(inner, signed, key)
    except (InvalidSignature, ValueError) as error:
        raise RecordError("the signature is wrong: the payload was changed after it was signed") from error


def _check(inner: "_Reader", signed: bytes, key: SshKey) -> None:
    """Verify the inner signature; raise ValueError or InvalidSignature."""
    from cryptography.hazmat.primitives import hashes  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature  # noqa: PLC0415

    algorithm, value = inner.string().decode(), inner.string()
    if key.kind.startswith("sk-"):
        flags, counter = inner.number(1), inner.take(4)
        if not flags & _USER_PRESENT:
            raise ValueError("the hardware key was not touched")
        application = _application(key)
        signed = hashlib.sha256(application).digest() + bytes([flags]) + counter + hashlib.sha256(signed).digest()
    inner.end()
    if isinstance(key.key, rsa.RSAPublicKey):
        sha = {"rsa-sha2-256": hashes.SHA256(), "rsa-sha2-512": hashes.SHA512()}.get(algorithm)
        if sha is None:
            raise ValueError(f"{algorithm} is not accepted for an RSA key")
        key.key.verify(value, signed, padding.PKCS1v15(), sha)
        return
    if algorithm != key.kind:
        raise ValueError(f"{algorithm} is not the algorithm of a {key.kind} key")
    if isinstance(key.key, ed25519.Ed25519PublicKey):
        key.key.verify(value, signed)
        return
    numbers = _Reader(value)
    r, s = (int.from_bytes(numbers.string(), "big") for _ in range(2))
    curve_hashes = {256: hashes.SHA256(), 384: hashes.SHA384(), 521: hashes.SHA512()}
    key.key.verify(encode_dss_signature(r, s), signed, ec.ECDSA(curve_hashes[key.key.key_size]))


def _application(key: SshKey) -> bytes:
    """Return the application that a hardware key was made for: the last field of its public key."""
    fields, last = _Reader(key.blob), b""
    while fields.left:
        last = fields.string()
    return last


def _sign(path: Path, message: bytes) -> bytes:
    command = ["ssh-keygen", "-Y", "sign", "-q", "-n", NAMESPACE, "-f", str(path)]
    try:
        done = subprocess.run(command, input=message, capture_output=True, check=False)
    except OSError as error:
        raise RecordError(f"ssh-keygen cannot be started: {error}. It is part of OpenSSH 8.1 and newer") from error
    if done.returncode != 0:
        raise RecordError(f"ssh-keygen could not sign with {path}: {done.stderr.decode(errors='replace').strip()}")
    return read_armor(done.stdout.decode())


def read_armor(text: str) -> bytes:
    """Return the bytes of an armored signature, as ``ssh-keygen`` writes it.

    Raises
    ------
    RecordError
        If it is not one.
    """
    body = text.strip()
    if not body.startswith(_BEGIN) or not body.endswith(_END):
        raise RecordError(f"not a signature of ssh: expected {_BEGIN}")
    try:
        return base64.b64decode("".join(body.removeprefix(_BEGIN).removesuffix(_END).split()), validate=True)
    except ValueError as error:
        raise RecordError(f"not a signature of ssh: {error}") from error


class _Reader:
    """Reads the fields of ssh's wire format (RFC 4251 section 5); raises ValueError where they are cut off."""

    def __init__(self, data: bytes) -> None:
        self.left = data

    def take(self, size: int) -> bytes:
        """Return the next bytes."""
        if len(self.left) < size:
            raise ValueError("it is cut off")
        taken, self.left = self.left[:size], self.left[size:]
        return taken

    def number(self, size: int) -> int:
        """Return the next unsigned number."""
        return int.from_bytes(self.take(size), "big")

    def string(self) -> bytes:
        """Return the next string: its length, then its bytes."""
        return self.take(self.number(4))

    def end(self) -> None:
        """Require that nothing is left."""
        if self.left:
            raise ValueError(f"{len(self.left)} bytes too many")


def _string(value: bytes) -> bytes:
    return len(value).to_bytes(4, "big") + value
