"""The sandbox's own certificate authorities: one good for loopback and nothing else, one for Azure's names."""

import datetime as dt
import ipaddress
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from opslib.sandbox.core.azure_hosts import BLOB_SUFFIX, HOSTS
from opslib.sandbox.core.private_files import write_private

_LIFETIME = dt.timedelta(days=397)
_RENEW_BEFORE = dt.timedelta(days=30)


@dataclass(frozen=True)
class Names:
    """What a certificate is for: the names in it, and those that its authority may sign at all."""

    title: str
    server: Sequence[x509.GeneralName]
    permitted: Sequence[x509.GeneralName]


LOOPBACK = Names(
    "loopback only",
    (x509.IPAddress(ipaddress.ip_address("127.0.0.1")), x509.DNSName("localhost")),
    (x509.IPAddress(ipaddress.ip_network("127.0.0.1/32")), x509.DNSName("localhost")),
)
AZURE = Names(
    "Azure's names",
    tuple(x509.DNSName(name) for name in (*HOSTS, f"*.{BLOB_SUFFIX}")),
    tuple(x509.DNSName(name) for name in (*HOSTS, BLOB_SUFFIX)),
)


def ensure_certificates(authority: Path, server: Path, key: Path, names: Names = LOOPBACK) -> None:
    """Write the authority, and the server's certificate and key, unless they exist and are valid.

    The authority's private key is thrown away once the server's certificate is signed, and the authority
    is constrained to its names: it cannot be used to impersonate another host.
    """
    if all(path.exists() for path in (authority, server, key)) and not _stale(server):
        return
    now = dt.datetime.now(dt.UTC)
    authority_key = ec.generate_private_key(ec.SECP256R1())
    authority_certificate = _authority(authority_key, names, now)
    server_key = ec.generate_private_key(ec.SECP256R1())
    certificate = _server(server_key, authority_certificate, authority_key, names, now)
    write_private(
        key,
        server_key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        ),
    )
    server.write_bytes(certificate.public_bytes(serialization.Encoding.PEM))
    authority.write_bytes(authority_certificate.public_bytes(serialization.Encoding.PEM))


def ensure_signing_key(path: Path) -> str:
    """Return the private key that tokens are signed with, made on first use [PEM]."""
    if not path.exists():
        key = ec.generate_private_key(ec.SECP256R1())
        write_private(
            path,
            key.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            ),
        )
    return path.read_text(encoding="ascii")


def _stale(path: Path) -> bool:
    certificate = x509.load_pem_x509_certificate(path.read_bytes())
    return certificate.not_valid_after_utc - _RENEW_BEFORE < dt.datetime.now(dt.UTC)


def _name(common: str) -> x509.Name:
    return x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, common)])


def _usage(*, signs_certificates: bool) -> x509.KeyUsage:
    return x509.KeyUsage(
        digital_signature=not signs_certificates,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=signs_certificates,
        crl_sign=signs_certificates,
        encipher_only=False,
        decipher_only=False,
    )


def _authority(key: ec.EllipticCurvePrivateKey, names: Names, now: dt.datetime) -> x509.Certificate:
    constraints = x509.NameConstraints(permitted_subtrees=names.permitted, excluded_subtrees=None)
    name = _name(f"opslib sandbox authority ({names.title})")
    return (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(_usage(signs_certificates=True), critical=True)
        .add_extension(constraints, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
        .sign(key, hashes.SHA256())
    )


def _server(
    key: ec.EllipticCurvePrivateKey,
    authority: x509.Certificate,
    authority_key: ec.EllipticCurvePrivateKey,
    names: Names,
    now: dt.datetime,
) -> x509.Certificate:
    issuer = x509.AuthorityKeyIdentifier.from_issuer_public_key(authority_key.public_key())
    return (
        x509.CertificateBuilder()
        .subject_name(_name("opslib sandbox" if names is AZURE else "127.0.0.1"))
        .issuer_name(authority.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - dt.timedelta(minutes=5))
        .not_valid_after(now + _LIFETIME)
        .add_extension(x509.SubjectAlternativeName(names.server), critical=False)
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(_usage(signs_certificates=False), critical=True)
        .add_extension(x509.ExtendedKeyUsage([ExtendedKeyUsageOID.SERVER_AUTH]), critical=False)
        .add_extension(issuer, critical=False)
        .sign(authority_key, hashes.SHA256())
    )
