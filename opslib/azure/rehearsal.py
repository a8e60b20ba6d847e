"""Requests to a server of this process, for what libraries build at a first use and keep.

A first request costs five times the processor time of a later one.
"""

import os
import ssl
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer
from ipaddress import ip_address
from pathlib import Path
from threading import Thread
from typing import Any

from azure.core.credentials import AccessToken
from azure.core.pipeline.transport import RequestsTransport

from opslib.azure.arm import ArmClient

REQUESTS = 10
"""After eight uses Python has specialised a function's code. Source: PEP 659 [count]."""


def send_requests() -> None:
    """Send requests as to Azure to a server of this process: on loopback, over TLS, past any proxy."""
    with tempfile.TemporaryDirectory() as folder:
        certificate = _certify(Path(folder) / "server.pem")
        settings = {"connection_verify": str(certificate), "use_env_settings": False}  # no proxy
        with _serving(certificate) as port, RequestsTransport(**settings) as http:
            arm = ArmClient(f"https://127.0.0.1:{port}", _Credential(), http=http)
            for _ in range(REQUESTS):
                arm.list("/rehearsal", "2024-01-01")


class _Credential:
    """A credential whose token is none."""

    def get_token(self, *_: str, **__: Any) -> AccessToken:
        return AccessToken("none", int((datetime.now(UTC) + timedelta(hours=1)).timestamp()))


class _Answer(BaseHTTPRequestHandler):
    """Answers each request with an empty list."""

    protocol_version = "HTTP/1.1"  # which keeps the connection
    timeout = 5.0

    def do_GET(self) -> None:
        content = b'{"value": []}'
        self.send_response(200)
        self.send_header("Content-Type", "application/json")
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def log_message(self, *_: Any) -> None:
        """Write no log."""


@contextmanager
def _serving(certificate: Path) -> Iterator[int]:
    """Serve on loopback during the block, in a thread that has ended after it; yield the port."""
    tls = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    tls.load_cert_chain(certificate)
    with HTTPServer(("127.0.0.1", 0), _Answer) as server:
        server.socket = tls.wrap_socket(server.socket, server_side=True)
        thread = Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        try:
            yield server.server_port
        finally:
            server.shutdown()
            thread.join()


def _certify(path: Path) -> Path:
    """Write a key and its own certificate for 127.0.0.1, which is valid for a minute."""
    from cryptography import x509  # noqa: PLC0415
    from cryptography.hazmat.primitives import hashes, serialization  # noqa: PLC0415
    from cryptography.hazmat.primitives.asymmetric import ec  # noqa: PLC0415

    key, now = ec.generate_private_key(ec.SECP256R1()), datetime.now(UTC)
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "opslib rehearsal")])
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=1))
        .not_valid_after(now + timedelta(minutes=1))
        .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
        .sign(key, hashes.SHA256())
    )
    secret = key.private_bytes(
        serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
    )
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
        file.write(secret + certificate.public_bytes(serialization.Encoding.PEM))
    return path
