"""Keys, envelopes and seals: standard tools can check them, and only the right key fits."""

import base64
import json
import subprocess

import pytest
from azure.core.exceptions import ResourceNotFoundError
from cryptography.hazmat.primitives.asymmetric.ec import SECP256R1, generate_private_key
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from evidence_fixture import make_run

from opslib.azure import secrets
from opslib.errors import ConnectError, ParameterError, RecordError
from opslib.evidence.run.files import SEAL
from opslib.evidence.signing import dsse, keys, seal
from opslib.evidence.signing.public_keys import PublicKey


def pem_of(key):
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode()


def test_a_key_is_made_at_first_use_for_this_user_alone(tmp_path, monkeypatch):
    """0600 in the settings; its public key is added to the archive, with a notice the first time."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "settings"))
    key = keys.find_signing_key()
    assert (tmp_path / "settings/opslib/signing-key.pem").stat().st_mode & 0o777 == 0o600
    assert keys.find_signing_key().id == key.id
    assert "keep a copy" in keys.store_public_key(tmp_path, key)
    assert keys.store_public_key(tmp_path, key) == ""


@pytest.mark.parametrize("where", ["file", "text", "one line"])
def test_a_configured_key_is_used(tmp_path, monkeypatch, where):
    """From a file, from a variable, and from a variable whose lines are escaped."""
    pem = pem_of(Ed25519PrivateKey.generate())
    path = tmp_path / "key.pem"
    path.write_text(pem)
    if where == "file":
        monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(path))
    else:
        monkeypatch.setenv("OPSLIB_SIGNING_KEY", pem if where == "text" else pem.replace("\n", "\\n"))
    assert keys.find_signing_key().private.private_bytes_raw()
    assert "signing-key.pem" not in keys.find_signing_key().origin


def test_a_key_that_is_none_is_refused_without_being_shown(monkeypatch, tmp_path):
    """The message names the variable and what was expected, not the value."""
    monkeypatch.setenv("OPSLIB_SIGNING_KEY", "-----BEGIN PRIVATE KEY-----\nhunter2\n-----END PRIVATE KEY-----")
    with pytest.raises(RecordError, match="expected an unencrypted PKCS#8 PEM") as caught:
        keys.find_signing_key()
    assert "hunter2" not in str(caught.value)
    path = tmp_path / "ec.pem"
    path.write_text(pem_of(generate_private_key(SECP256R1())))
    monkeypatch.setenv("OPSLIB_SIGNING_KEY_FILE", str(path))
    with pytest.raises(RecordError, match="expected Ed25519"):
        keys.find_signing_key()


class Vault:
    """Key Vault's client, answering from memory."""

    pem = ""

    def __init__(self, url, _credential):
        self.url = url

    def __enter__(self):
        return self

    def __exit__(self, *_):
        return None

    def get_secret(self, name):
        if name != "runner":
            raise ResourceNotFoundError(f"{name} is not in {self.url}")
        return type("KeyVaultSecret", (), {"value": Vault.pem})


def test_a_key_in_a_vault_is_used_by_reference(monkeypatch):
    """``keyvault:NAME`` reads a PEM from Azure Key Vault; the error for a wrong name contains the address."""
    Vault.pem = pem_of(Ed25519PrivateKey.generate())
    monkeypatch.setattr("azure.keyvault.secrets.SecretClient", Vault)
    monkeypatch.setenv("OPSLIB_SIGNING_KEY", "keyvault:runner")
    with pytest.raises(ConnectError, match="OPSLIB_KEYVAULT_URL"):
        keys.find_signing_key()
    monkeypatch.setenv("OPSLIB_KEYVAULT_URL", "https://harborshield.vault.azure.net")
    assert keys.find_signing_key().origin == "keyvault:runner"
    monkeypatch.setenv("OPSLIB_SIGNING_KEY", "keyvault:other")
    with pytest.raises(ConnectError, match=r"other is not in https://harborshield.vault.azure.net"):
        keys.find_signing_key()


@pytest.mark.parametrize("reference", ["hunter2hunter2", "env:", "file:/etc/passwd", ""])
def test_only_references_lead_to_secrets(reference):
    """A value in place of a reference is refused, and not shown."""
    with pytest.raises(ParameterError, match="by reference") as caught:
        secrets.secret(reference)
    assert "hunter2" not in str(caught.value)


def test_a_secret_shows_itself_as_stars(monkeypatch):
    """Neither its repr nor its text holds the value; a short one cannot be kept out, and is refused."""
    monkeypatch.setenv("LOGIN", "hunter2hunter2")
    found = secrets.secret("env:LOGIN")
    assert "hunter2" not in f"{found} {found!r}"
    assert found.get_secret_value() == "hunter2hunter2"
    monkeypatch.setenv("LOGIN", "short")
    with pytest.raises(ParameterError, match="fewer than 8"):
        secrets.secret("env:LOGIN")
    with pytest.raises(ConnectError, match="not set"):
        secrets.secret("env:NOBODY_SET_THIS")


def test_openssl_verifies_a_seal(tmp_path):
    """The signature is over DSSE's encoding of an in-toto statement: nothing of ours is needed to check it."""
    folder = make_run(tmp_path / "runs")
    envelope = json.loads((folder / SEAL).read_text())
    payload = base64.b64decode(envelope["payload"])
    signature = base64.b64decode(envelope["signatures"][0]["sig"])
    (tmp_path / "message").write_bytes(dsse.pre_authentication_encoding(payload, envelope["payloadType"]))
    (tmp_path / "signature").write_bytes(signature)
    (public,) = (tmp_path / "runs" / "KEYS").iterdir()
    command = ["openssl", "pkeyutl", "-verify", "-pubin", "-inkey", str(public), "-rawin", "-in", "message"]
    done = subprocess.run(
        [*command, "-sigfile", "signature"], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr
    statement = json.loads(payload)
    assert statement["_type"] == "https://in-toto.io/Statement/v1"
    names = {subject["name"] for subject in statement["subject"]}
    assert names == {p.name for p in folder.iterdir()} - {SEAL}


def test_an_envelope_has_one_spelling(tmp_path, monkeypatch):
    """Spaces, extra fields and spare bits change the bytes and not the meaning: refused all the same."""
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path))
    key = keys.find_signing_key()
    trusted = {key.id: PublicKey(key.private.public_key())}
    envelope = dsse.sign(b"{}", "x", key)
    assert dsse.verify(envelope.encode(), trusted).payload == b"{}"
    for other in (f" {envelope}", envelope.replace(",", ", ", 1), envelope.replace('"payload"', '"a":1,"payload"')):
        with pytest.raises(RecordError):
            dsse.verify(other.encode(), trusted)
    with pytest.raises(dsse.UnknownKey):
        dsse.verify(envelope.encode(), {})


def test_a_folder_with_a_link_is_not_sealed(tmp_path):
    """A link may lead anywhere tomorrow."""
    (tmp_path / "link").symlink_to("/etc/passwd")
    with pytest.raises(RecordError, match="is not a regular file"):
        list(seal.digests(tmp_path))
