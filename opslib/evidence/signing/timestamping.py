"""Time tokens (RFC 3161) over checkpoints: proof by a third party that the ledger existed at a time.

``OPSLIB_TIMESTAMP_URL`` is the time stamp authority. If it does not answer, the run continues: the checkpoint then
has no token, and the next one covers the same lines. A checkpoint signs the head of the ledger, so its token proves
that everything before it existed at that time.

Source: RFC 3161; the client is `rfc3161-client` of the sigstore project.
"""

import hashlib
import os
from collections.abc import Iterator
from contextlib import suppress
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING

from opslib.errors import OpsError, RecordError
from opslib.evidence.run.files import CHECKPOINT_SUFFIX, TOKEN_SUFFIX
from opslib.evidence.run.record import write_atomically
from opslib.evidence.signing.findings import VerifyFinding, tampered

if TYPE_CHECKING:
    from cryptography.x509 import Certificate

URL_VARIABLE = "OPSLIB_TIMESTAMP_URL"


def token_path(checkpoint: Path) -> Path:
    """Return the path of a checkpoint's token."""
    return checkpoint.with_name(checkpoint.name.removesuffix(CHECKPOINT_SUFFIX) + TOKEN_SUFFIX)


def add_token(checkpoint: Path) -> None:
    """Fetch a token for a checkpoint; do nothing without a configured authority, or if it has a token."""
    url, path = os.environ.get(URL_VARIABLE), token_path(checkpoint)
    if not url or path.exists():
        return
    with suppress(OpsError, ImportError):
        from rfc3161_client import HashAlgorithm, TimestampRequestBuilder  # noqa: PLC0415 - an extra

        from opslib.azure.timestamp_authority import fetch_token  # noqa: PLC0415 - HTTP, only where it is configured

        request = TimestampRequestBuilder().data(checkpoint.read_bytes())
        encoded = request.hash_algorithm(HashAlgorithm.SHA256).build()
        write_atomically(path, fetch_token(url, encoded.as_bytes()), drafts=checkpoint.parent.parent)
        path.chmod(0o444)


def verify_token(checkpoint: Path, content: bytes, authority: Path | None) -> Iterator[VerifyFinding]:
    """Verify a checkpoint's token, if it has one and the client is installed.

    Parameters
    ----------
    authority
        Certificates of the authority, including its root (PEM). Without them only the digest in the token is
        compared; its issuer is not verified.
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
            yield tampered("time token of another checkpoint", file=name)
            return
        if authority is not None:
            builder = VerifierBuilder()
            for certificate in read_certificates(authority):
                builder = builder.add_root_certificate(certificate)
            builder.build().verify_message(response, content)
    except (ValueError, VerificationError) as error:
        yield tampered(f"invalid time token: {error}", file=name)


def proven_time(checkpoint: Path, authority: Path | None) -> datetime | None:
    """Return the time of a token that `verify_token` found valid; None without a token or certificates."""
    path = token_path(checkpoint)
    if authority is None or not path.exists():
        return None
    try:
        from rfc3161_client import decode_timestamp_response  # noqa: PLC0415
    except ImportError:
        return None
    return decode_timestamp_response(path.read_bytes()).tst_info.gen_time


def read_certificates(path: Path) -> "list[Certificate]":
    """Read the certificates of an authority.

    Raises
    ------
    RecordError
        If the file cannot be read, or contains none.
    """
    from cryptography.x509 import load_pem_x509_certificates  # noqa: PLC0415

    try:
        return list(load_pem_x509_certificates(path.read_bytes()))
    except (OSError, ValueError) as error:
        raise RecordError(f"{path} cannot be used: expected certificates in PEM: {error}") from error
