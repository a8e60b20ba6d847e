"""A real Azurite, from npm, over TLS on loopback: what published runs are tested against.

``OPSLIB_AZURITE`` names the folder in which ``npm install azurite`` was done, or is to be done (default: in the
user's cache).
"""

import base64
import json
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import httpx
import pytest
from awaiting import wait_until
from azure.core.credentials import AccessToken

if TYPE_CHECKING:
    from azure.storage.blob import ContainerClient

ACCOUNT = "devstoreaccount1"
VERSION = "3.35.0"


@dataclass(frozen=True)
class Azurite:
    """A running one; `url` is the account's."""

    url: str
    certificate: Path


class Caller:
    """A credential as azure-identity gives one: a token for storage, which Azurite reads and does not verify."""

    def get_token(self, *_scopes: str, **_: object) -> AccessToken:
        now = int(time.time())
        claims = {
            "aud": "https://storage.azure.com",
            "iss": "https://sts.windows.net/t/",
            "ver": "1.0",
            "oid": "oncall",
        }
        parts = ({"alg": "none", "typ": "JWT"}, claims | {"iat": now, "nbf": now - 60, "exp": now + 3600})
        text = ".".join(base64.urlsafe_b64encode(json.dumps(p).encode()).rstrip(b"=").decode() for p in parts)
        return AccessToken(f"{text}.c2ln", now + 3600)


def container_client(url: str) -> "ContainerClient":
    """The SDK's client of a container, with that credential."""
    from azure.storage.blob import ContainerClient  # noqa: PLC0415 - takes half a second, most tests need none

    return ContainerClient.from_container_url(url, credential=Caller())


def install() -> Path:
    """Find Azurite, or install it once; skip where that cannot be done."""
    home = Path(os.environ.get("OPSLIB_AZURITE") or Path.home() / ".cache" / "opslib-azurite")
    program = home / "node_modules" / ".bin" / "azurite-blob"
    if program.exists():
        return program
    if not shutil.which("npm"):
        pytest.skip("npm is not here: Azurite cannot be installed")
    home.mkdir(parents=True, exist_ok=True)
    command = ["npm", "install", "--no-audit", "--no-fund", "--silent", f"azurite@{VERSION}"]
    done = subprocess.run(command, cwd=home, capture_output=True, text=True, check=False, timeout=180)
    if done.returncode or not program.exists():
        pytest.skip(f"npm cannot install Azurite: {done.stderr[-300:]}")
    return program


@contextmanager
def running_azurite(folder: Path) -> Iterator[Azurite]:
    """Keep an Azurite running on a port of its own, with a certificate of its own."""
    program, certificate, key = install(), folder / "cert.pem", folder / "key.pem"
    subject = ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2", *subject]
    subprocess.run([*command, "-keyout", key, "-out", certificate], check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    options = [
        "--silent",
        "--disableTelemetry",
        "--skipApiVersionCheck",
        "--oauth",
        "basic",
        "--blobHost",
        "127.0.0.1",
    ]
    files = ["--blobPort", str(port), "--location", str(folder), "--cert", str(certificate), "--key", str(key)]
    process = subprocess.Popen([program, *options, *files], stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
    try:
        wait_until(lambda: process.poll() is not None or answers(port, certificate))
        assert process.poll() is None, process.communicate()[0]
        yield Azurite(f"https://127.0.0.1:{port}/{ACCOUNT}", certificate)
    finally:
        process.terminate()
        process.communicate(timeout=30)


def answers(port: int, certificate: Path) -> bool:
    import ssl  # noqa: PLC0415 - only here

    try:
        context = ssl.create_default_context(cafile=str(certificate))
        with httpx.Client(verify=context, timeout=2.0) as client:
            return client.get(f"https://127.0.0.1:{port}/").status_code > 0
    except httpx.HTTPError:
        return False
