"""An independent time for the archive: an RFC 3161 token over a checkpoint, where an authority is configured.

``OPSLIB_TIMESTAMP_URL`` names the authority. One that does not answer stops no run: the checkpoint then has no
token, and the next one covers it. A checkpoint holds the ledger's head, so its time is the latest at which
everything before it can have been made.

Source: RFC 3161; the client is `rfc3161-client` of the sigstore project.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import OpsError
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, TOKEN_SUFFIX
from opslib.evidence.run.record import write_atomically
from opslib.evidence.signing.findings import VerifyFinding, tampered

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

URL_VARIABLE = "OPSLIB_TIMESTAMP_URL"


def token_path(checkpoint: Path) -> Path:
    """Where the token of a checkpoint stands."""
    return checkpoint.with_name(checkpoint.name.removesuffix(CHECKPOINT_SUFFIX) + TOKEN_SUFFIX)


def add_token(checkpoint: Path) -> None:
    """Fetch a token for a checkpoint; do nothing where no authority is configured or it has one."""
    url, path = os.environ.get(URL_VARIABLE), token_path(checkpoint)
    if not url or path.exists():
        return
    with suppress(OpsError, ImportError):
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra

        from opslib.azure.timestamp_authority import fetch_token  # noqa: PLC0415 - HTTP, only where it is configured

        request = TimestampRequestBuilder().data(checkpoint.read_bytes())
        asked = request.hash_algorithm(HashAlgorithm.SHA256).build()
        write_atomically(path, fetch_token(url, asked.as_bytes()), drafts=checkpoint.parent.parent)
        path.chmod(0o444)


def verify_token(checkpoint: Path, content: bytes, authority: Path | None) -> Iterator[VerifyFinding]:
    """Check a checkpoint's token, where it has one and the client is installed.

    Parameters
    ----------
    authority
        Certificates of the authority, its root among them (PEM). Without them only what the token is about is
        compared, not who made it.
    """
    path = token_path(checkpoint)
    if not path.exists():
        return
    try:
        from rfc3161_client import VerificationError, VerifierBuilder, decode_timestamp_response  # noqa: PLC0415
    except ImportError:
        return
    name = f"{checkpoint.parent.name}/{path.name}"
    try:
        response = decode_timestamp_response(path.read_bytes())
        if response.tst_info.message_imprint.message != hashlib.sha256(content).digest():
            yield tampered("the time token is of another checkpoint", file=name)
            return
        if authority is not None:
            builder = VerifierBuilder()
            for certificate in _certificates(authority):
                builder = builder.add_root_certificate(certificate)
            builder.build().verify_message(response, content)
    except (ValueError, VerificationError) as error:
        yield tampered(f"the time token does not hold: {error}", file=name)


def proven_time(checkpoint: Path, authority: Path | None) -> datetime | None:
    """When the authority saw a checkpoint, whose token `verify` found sound; None where nothing proves it."""
    path = token_path(checkpoint)
    if authority is None or not path.exists():
        return None
    try:
        from rfc3161_client import decode_timestamp_response  # noqa: PLC0415
    except ImportError:
        return None
    return decode_timestamp_response(path.read_bytes()).tst_info.gen_time


def _certificates(path: Path) -> "list[Certificate]":
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    return list(load_pem_x509_certificates(path.read_bytes()))
