"""Signatures of ssh: made by ssh-keygen, verified here; and the allowed signers that may make them."""

import base64
import shutil
import subprocess
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from opslib.errors import RecordError
from opslib.evidence.signing import dsse, sshsig
from opslib.evidence.signing.approvers import VARIABLE, find_approvers, read_allowed_signers
from opslib.evidence.signing.public_keys import key_id, public_pem

MADE = Path(__file__).parent / "ssh_signatures"
"""Public keys and signatures that OpenSSH 9.2 made; the private keys were not kept."""

MESSAGE = (MADE / "message").read_bytes()
KINDS = ("ed25519", "ecdsa-256", "ecdsa-384", "ecdsa-521", "rsa-2048")
ANN = "ann@harborshield.example"

needs_ssh_keygen = pytest.mark.skipif(shutil.which("ssh-keygen") is None, reason="OpenSSH is not installed")


def string(value):
    """A string as ssh sends it."""
    return len(value).to_bytes(4, "big") + value


def public(kind):
    return (MADE / f"{kind}.pub").read_text().strip()


def key_of(kind):
    return sshsig.read_key(*public(kind).split()[:2])


def signature_of(name):
    return sshsig.read_armor((MADE / f"{name}.sig").read_text())


@pytest.mark.parametrize("kind", KINDS)
def test_a_signature_of_openssh_is_valid_for_its_message_and_key_alone(kind):
    """Every type of key that ssh-keygen makes without hardware."""
    sshsig.verify(signature_of(kind), MESSAGE, key_of(kind))
    with pytest.raises(RecordError, match="the payload was changed"):
        sshsig.verify(signature_of(kind), MESSAGE + b".", key_of(kind))
    other = "rsa-2048" if kind != "rsa-2048" else "ed25519"
    with pytest.raises(RecordError, match="by another key"):
        sshsig.verify(signature_of(kind), MESSAGE, key_of(other))


def test_a_signature_for_another_purpose_is_not_an_approval():
    """A signed commit of the same person, for example."""
    with pytest.raises(RecordError, match="is for 'git', expected 'opslib-approval'"):
        sshsig.verify(signature_of("other-purpose"), MESSAGE, key_of("ed25519"))


@pytest.mark.parametrize("kind", KINDS)
def test_a_damaged_signature_is_never_valid(kind):
    """A changed, removed or added byte is found, and nothing else than a RecordError is raised."""
    good = signature_of(kind)
    changed = [good[:at] + bytes([good[at] ^ 1]) + good[at + 1 :] for at in range(len(sshsig.MAGIC), len(good), 3)]
    for bad in (*changed, good[:-1], good + b"\0", b"SSHSIG"):
        with pytest.raises(RecordError):
            sshsig.verify(bad, MESSAGE, key_of(kind))


@pytest.mark.parametrize(("flags", "valid"), [(1, True), (5, True), (0, False)])
def test_a_hardware_key_must_have_been_touched(flags, valid):
    """Source: PROTOCOL.u2f; such a key signs the application, the flags, a counter and the digest."""
    private, application = Ed25519PrivateKey.generate(), b"ssh:"
    kind = b"sk-ssh-ed25519@openssh.com"
    blob = b"".join(map(string, (kind, private.public_key().public_bytes_raw(), application)))
    purpose, digest = sshsig.NAMESPACE.encode(), sha256(MESSAGE).digest()
    signed = b"SSHSIG" + b"".join(map(string, (purpose, b"", b"sha256", digest)))
    used = bytes([flags]) + (7).to_bytes(4, "big")
    value = private.sign(sha256(application).digest() + used + sha256(signed).digest())
    inner = string(kind) + string(value) + used
    signature = b"SSHSIG" + (1).to_bytes(4, "big") + b"".join(map(string, (blob, purpose, b"", b"sha256", inner)))
    key = sshsig.read_key(kind.decode(), base64.b64encode(blob).decode())
    if valid:
        sshsig.verify(signature, MESSAGE, key)
    else:
        with pytest.raises(RecordError, match="signature is wrong"):
            sshsig.verify(signature, MESSAGE, key)


@needs_ssh_keygen
@pytest.mark.parametrize("public_half", [False, True])
def test_ssh_keygen_signs_an_envelope_and_it_is_verified_here(tmp_path, public_half):
    """By a key file, or where a passphrase or agent is used, by the file of its public half."""
    path = tmp_path / "id_ed25519"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", ANN, "-f", str(path)], check=True)
    signer = sshsig.find_signer(path)
    assert sshsig.find_signer(tmp_path / "id_ed25519.pub").id == signer.id
    envelope = dsse.sign(b'{"who": "ann"}', "application/test", signer)
    signers = tmp_path / "allowed_signers"
    signers.write_text(f'{ANN} namespaces="opslib-approval" {path.with_suffix(".pub").read_text()}')
    keys = read_allowed_signers(signers)
    assert dsse.verify(envelope.encode(), keys).payload == b'{"who": "ann"}'
    if public_half:  # the same bytes, as OpenSSH itself verifies them
        armor = tmp_path / "sig"
        message = dsse.pre_authentication_encoding(b'{"who": "ann"}', "application/test")
        done = subprocess.run(
            ["ssh-keygen", "-q", "-Y", "sign", "-n", sshsig.NAMESPACE, "-f", str(path)],
            input=message,
            capture_output=True,
            check=True,
        )
        armor.write_bytes(done.stdout)
        command = ["ssh-keygen", "-Y", "verify", "-f", str(signers), "-I", ANN, "-n", sshsig.NAMESPACE, "-s"]
        subprocess.run([*command, str(armor)], input=message, capture_output=True, check=True)


@needs_ssh_keygen
def test_a_key_that_cannot_sign_is_named(tmp_path):
    """The reason of ssh-keygen is shown."""
    (tmp_path / "id.pub").write_text(public("ed25519"))
    with pytest.raises(RecordError, match="ssh-keygen could not sign with"):
        sshsig.find_signer(tmp_path / "id.pub").sign(b"x")
    with pytest.raises(RecordError, match="cannot be read"):
        sshsig.find_signer(tmp_path / "other")


def written(tmp_path, *lines):
    path = tmp_path / "allowed_signers"
    path.write_text("\n".join(lines) + "\n")
    return path


def test_allowed_signers_are_read_as_ssh_reads_them(tmp_path):
    """Principals, options and keys; a key for other purposes is left out."""
    path = written(
        tmp_path,
        "# our approvers",
        "",
        f"{ANN},ann {public('ed25519')}",
        f'bob@x valid-after="20260101Z",valid-before="202612312359Z" {public("ecdsa-256")} bob\'s laptop',
        f'"eve@x" namespaces="file,opslib-*" {public("rsa-2048")}',
        f'joe@x namespaces="git" {public("ecdsa-384")}',
    )
    found = {known.who: known for known in read_allowed_signers(path).values()}
    assert found.keys() == {ANN, "bob@x", "eve@x"}
    assert found["bob@x"].not_before == datetime(2026, 1, 1, tzinfo=UTC)
    assert found["bob@x"].not_after == datetime(2026, 12, 31, 23, 59, tzinfo=UTC)
    assert "after its key was replaced" in found["bob@x"].objection(datetime(2027, 1, 1, tzinfo=UTC), None)
    assert found[ANN].objection(datetime(2027, 1, 1, tzinfo=UTC), None) == ""


@pytest.mark.parametrize(
    ("line", "message"),
    [
        (f"*@harborshield.example {public('ed25519')}", "is a pattern. An approver is one person"),
        (f"ann cert-authority {public('ed25519')}", "option cert-authority is not supported"),
        (f'ann valid-before="soon" {public("ed25519")}', "'soon' is not a time"),
        ("ann ssh-dss AAAA", "no key of a supported type"),
        ("ann ssh-ed25519 AAAA", "not a public key of type ssh-ed25519"),
        (f"bob,ann {public('rsa-2048')}", "ann is a name of ann too"),
    ],
)
def test_a_line_that_names_no_single_person_is_refused(tmp_path, line, message):
    """With file and line: a pattern would let one key approve in many names."""
    path = written(tmp_path, f"ann {public('ecdsa-256')}", line)
    with pytest.raises(RecordError) as error:
        read_allowed_signers(path)
    assert str(error.value).startswith(f"{path}:2: ")
    assert message in str(error.value)


def test_both_formats_are_approvers_at_once(tmp_path, monkeypatch):
    """A key of ssh has the same id as in a PEM, so that the key that seals a run is recognised in either."""
    private = Ed25519PrivateKey.generate()
    (tmp_path / "a.pem").write_text(f"who: bob\n{public_pem(private.public_key())}")
    path = written(tmp_path, f"{ANN} {public('ed25519')}")
    monkeypatch.setenv(VARIABLE, f"{tmp_path / 'a.pem'}:{path}")
    found = find_approvers()
    assert {known.who for known in found.values()} == {ANN, "bob"}
    ssh_id = next(keyid for keyid, known in found.items() if known.who == ANN)
    assert ssh_id == key_of("ed25519").id
    assert key_id(private.public_key()) in found
    (tmp_path / "a.pem").write_text(public_pem(private.public_key()))
    with pytest.raises(RecordError, match="without a `who:` line"):
        find_approvers()
