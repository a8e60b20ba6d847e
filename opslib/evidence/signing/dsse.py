"""DSSE envelopes: a payload, its type, and who signed both; verifiable with any implementation of the standard.

Source: https://github.com/secure-systems-lab/dsse/blob/master/protocol.md (v1) and envelope.md.
"""

import base64
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from opslib.errors import RecordError

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

    from opslib.evidence.signing.keys import PublicKey, SigningKey

PublicKeys = Mapping[str, "PublicKey"]
"""Public keys by their id."""


class UnknownKey(RecordError):  # noqa: N818 - what it is
    """None of the signatures is by a key that is trusted."""


@dataclass(frozen=True)
class Envelope:
    """What was signed, and by whom."""

    payload_type: str
    payload: bytes
    keyid: str


def signers(envelope: bytes) -> list[str]:
    """Say whose signatures an envelope claims to carry, without believing it; none where it is none."""
    try:
        return [str(signature["keyid"]) for signature in json.loads(envelope)["signatures"]]
    except (ValueError, TypeError, KeyError):
        return []


def sign(payload: bytes, payload_type: str, key: "SigningKey") -> str:
    """Sign a payload; return the envelope's JSON."""
    signature = key.private.sign(pre_authentication_encoding(payload, payload_type))
    return _spelling(payload, payload_type, [(key.id, signature)]).decode()


def verify(envelope: bytes, keys: PublicKeys) -> Envelope:
    """Open an envelope.

    Raises
    ------
    UnknownKey
        If no signature is by one of `keys`.
    RecordError
        If it is no envelope, or a signature by a trusted key is wrong.
    """
    try:
        content = json.loads(envelope)
        payload = base64.b64decode(content["payload"], validate=True)
        payload_type = str(content["payloadType"])
        signatures = [(str(s["keyid"]), base64.b64decode(s["sig"], validate=True)) for s in content["signatures"]]
        exact = _spelling(payload, payload_type, signatures)
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RecordError(f"not a DSSE envelope: {error!r}") from error
    if exact != envelope:
        raise RecordError("the envelope is not spelled as it was written: its bytes were changed")
    known = [(keyid, signature) for keyid, signature in signatures if keyid in keys]
    if not known:
        named = ", ".join(keyid[:16] for keyid, _ in signatures) or "nobody"
        raise UnknownKey(f"signed by {named}, none of the {len(keys)} trusted keys")
    message = pre_authentication_encoding(payload, payload_type)
    for keyid, signature in known:
        _check(keys[keyid].key, signature, message)
    return Envelope(payload_type, payload, known[0][0])


def _spelling(payload: bytes, payload_type: str, signatures: Sequence[tuple[str, bytes]]) -> bytes:
    """The one way in which an envelope of these values is written: nothing hides in spaces or spare bits."""
    envelope = {
        "payload": base64.b64encode(payload).decode(),
        "payloadType": payload_type,
        "signatures": [{"keyid": keyid, "sig": base64.b64encode(sig).decode()} for keyid, sig in signatures],
    }
    return json.dumps(envelope, separators=(",", ":")).encode() + b"\n"


def _check(key: "Ed25519PublicKey", signature: bytes, message: bytes) -> None:
    from cryptography.exceptions import InvalidSignature  # noqa: PLC0415 - 0.1 s, only where it is needed

    try:
        key.verify(signature, message)
    except InvalidSignature as error:
        raise RecordError("the signature does not fit: the payload was changed after it was signed") from error


def pre_authentication_encoding(payload: bytes, payload_type: str) -> bytes:
    """PAE, the bytes that DSSE signs.

    Examples
    --------
    >>> pre_authentication_encoding(b"hello world", "http://example.com/HelloWorld")
    b'DSSEv1 29 http://example.com/HelloWorld 11 hello world'
    """
    kind = payload_type.encode()
    return b"DSSEv1 %d %b %d %b" % (len(kind), kind, len(payload), payload)
