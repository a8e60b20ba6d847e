"""DSSE envelopes: a payload and its type, signed; any implementation of the standard can verify them.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (v1) and envelope.md.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from opslib.errors import RecordError

if TYPE_CHECKING:
    from opslib.evidence.signing.keys import PublicKey

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


@dataclass(frozen=True)
class Envelope:
    """The payload of a verified envelope, and the key that signed it."""

    payload_type: str
    payload: bytes
    keyid: str


def signers(envelope: bytes) -> list[str]:
    """Return the key ids that an envelope names, unverified; empty if it is not an envelope."""
    try:
        return [str(signature["keyid"]) for signature in json.loads(envelope)["signatures"]]
    except (ValueError, TypeError, KeyError):
        return []


def sign(payload: bytes, payload_type: str, key: Signer) -> str:
    """Sign a payload; return the envelope's JSON."""
    signature = key.sign(pre_authentication_encoding(payload, payload_type))
    return _canonical(payload, payload_type, [(key.id, signature)]).decode()


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
        content = json.loads(envelope)
        payload = base64.b64decode(content["payload"], validate=True)
        payload_type = str(content["payloadType"])
        signatures = [(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in content["signatures"]]
        exact = _canonical(payload, payload_type, signatures)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"not a DSSE envelope: {error!r}") from error
    if exact != envelope:
        raise RecordError("the envelope is not in canonical form: its bytes were changed")
    known = [(keyid, signature) for keyid, signature in signatures if keyid in keys]
    if not known:
        named = ", ".join(keyid[:16] for keyid, _ in signatures) or "no key"
        raise UnknownKey(f"signed by {named}, which is not one of the {len(keys)} trusted keys")
    message = pre_authentication_encoding(payload, payload_type)
    for keyid, signature in known:
        keys[keyid].verify(signature, message)
    return Envelope(payload_type, payload, known[0][0])


def _canonical(payload: bytes, payload_type: str, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """Return the canonical bytes of an envelope, so that no data can hide in spaces or unused base64 bits."""
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in signatures],
    }
    return json.dumps(envelope, separators=(",", ":")).encode() + b"\n"


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """Return the PAE (pre-authentication encoding), the bytes that DSSE signs.

    Examples
    --------
    >>> pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
