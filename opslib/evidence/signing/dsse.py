"""DSSE envelopes: a payload and its type, signed; any implementation of the standard can verify them.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (v1) and envelope.md.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

import msgspec

from opslib.errors import RecordError

if TYPE_CHECKING:
    from opslib.evidence.signing.public_keys import PublicKey

PublicKeys = Mapping[str, "PublicKey"]
"""Public keys by their id."""


class Signer(Protocol):
    """A private key: it signs, and its public key has an id."""

    @property
    def id(self) -> str:
        """Id of the public key."""

    def sign(self, message: bytes) -> bytes:
        """Sign a message."""


class UnknownKey(RecordError):  # noqa: N818 - what it is
    """No signature of an envelope is by a trusted key."""


class _Signature(msgspec.Struct):
    """One signature; bytes are base64 in JSON."""

    keyid: str
    sig: bytes


class _Envelope(msgspec.Struct):
    """An envelope, in the order of its canonical form."""

    payload: bytes
    payload_type: str = msgspec.field(name="payloadType")
    signatures: list[_Signature]

    def canonical(self) -> bytes:
        """Return the canonical bytes, so that no data can hide in spaces, other fields or unused base64 bits."""
        return msgspec.json.encode(self) + b"\n"


_decode = msgspec.json.Decoder(_Envelope).decode


@dataclass(frozen=True)
class Envelope:
    """The payload of a verified envelope, and the key that signed it."""

    payload_type: str
    payload: bytes
    keyid: str


def signers(envelope: bytes) -> list[str]:
    """Return the key ids that an envelope names, unverified; empty if it is not an envelope."""
    try:
        return [signature.keyid for signature in _decode(envelope).signatures]
    except (ValueError, msgspec.MsgspecError):
        return []


def sign(payload: bytes, payload_type: str, key: Signer) -> str:
    """Sign a payload; return the envelope's JSON."""
    signature = key.sign(pre_authentication_encoding(payload, payload_type))
    return _Envelope(payload, payload_type, [_Signature(key.id, signature)]).canonical().decode()


def verify(envelope: bytes, keys: PublicKeys) -> Envelope:
    """Verify an envelope and return its payload.

    Raises
    ------
    UnknownKey
        If no signature is by one of `keys`.
    RecordError
        If it is not an envelope, or a signature by a trusted key is wrong.
    """
    try:
        content = _decode(envelope)
    except (ValueError, msgspec.MsgspecError) as error:
        raise RecordError(f"not a DSSE envelope: {error}") from error
    if content.canonical() != envelope:
        raise RecordError("the envelope is not in canonical form: its bytes were changed")
    known = [signature for signature in content.signatures if signature.keyid in keys]
    if not known:
        named = ", ".join(signature.keyid[:16] for signature in content.signatures) or "no key"
        raise UnknownKey(f"signed by {named}, which is not one of the {len(keys)} trusted keys")
    message = pre_authentication_encoding(content.payload, content.payload_type)
    for signature in known:
        keys[signature.keyid].verify(signature.sig, message)
    return Envelope(content.payload_type, content.payload, known[0].keyid)


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """Return the PAE (pre-authentication encoding), the bytes that DSSE signs.

    Examples
    --------
    >>> pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
