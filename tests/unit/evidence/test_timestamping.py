"""An independent time: RFC 3161 tokens of a local authority made by openssl, over each checkpoint."""

import os
import shutil
import subprocess
import threading
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
from evidence_fixture import make_archive, make_run

from opslib.cli.main import main
from opslib.evidence.archive.checkpoints import find_checkpoints
from opslib.evidence.run.files import CHECKPOINTS
from opslib.evidence.signing import timestamping
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify

CONFIG = """
[tsa]
dir = .
serial = serial
signer_cert = tsa.pem
signer_key = tsa.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256
[extensions]
extendedKeyUsage = critical,timeStamping
[authority]
basicConstraints = critical,CA:true
[req]
distinguished_name = name
[name]
"""


@pytest.fixture(scope="module")
def authority(tmp_path_factory):
    """An authority that signs the time; its address and its certificates."""
    if not shutil.which("openssl"):
        pytest.skip("openssl is not here: there is no authority to ask")
    folder = tmp_path_factory.mktemp("tsa")
    (folder / "tsa.cnf").write_text(CONFIG)
    (folder / "serial").write_text("01\n")
    make = ["openssl", "req", "-config", "tsa.cnf", "-nodes", "-newkey", "rsa:2048"]
    sign = ["openssl", "x509", "-req", "-in", "tsa.csr", "-CA", "ca.pem", "-CAkey", "ca.key", "-CAcreateserial"]
    for command in (
        [
            *make,
            "-x509",
            "-days",
            "2",
            "-subj",
            "/CN=ca",
            "-extensions",
            "authority",
            "-keyout",
            "ca.key",
            "-out",
            "ca.pem",
        ],
        [*make, "-subj", "/CN=tsa", "-keyout", "tsa.key", "-out", "tsa.csr"],
        [*sign, "-days", "2", "-extfile", "tsa.cnf", "-extensions", "extensions", "-out", "tsa.pem"],
    ):
        subprocess.run(command, cwd=folder, check=True, capture_output=True)

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self):
            (folder / "query").write_bytes(self.rfile.read(int(self.headers["Content-Length"])))
            command = ["openssl", "ts", "-reply", "-config", "tsa.cnf", "-section", "tsa", "-queryfile", "query"]
            answer = subprocess.run(command, cwd=folder, check=True, capture_output=True).stdout
            self.send_response(200)
            self.send_header("Content-Type", "application/timestamp-reply")
            self.end_headers()
            self.wfile.write(answer)

        def log_message(self, *_):
            """Log nothing."""

    with HTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield f"http://127.0.0.1:{server.server_port}/", folder / "ca.pem", folder / "tsa.pem"
        server.shutdown()
        thread.join()


@pytest.fixture
def stamped(authority, tmp_path, monkeypatch):
    monkeypatch.setenv(timestamping.URL_VARIABLE, authority[0])
    make_archive(tmp_path / "runs", 2)
    return tmp_path / "runs"


def test_every_checkpoint_carries_a_time_that_holds(stamped, authority):
    """With the authority's certificate the token is proved; without, it is compared."""
    assert [timestamping.token_path(path).exists() for path in find_checkpoints(stamped)] == [True, True]
    assert verify(stamped).state is VerifyState.SOUND
    assert verify(stamped, tsa=authority[1]).state is VerifyState.SOUND
    assert main(["verify", str(stamped), "--tsa", str(authority[1])]) == 0


def test_a_token_of_another_checkpoint_or_authority_is_found(stamped, authority):
    """Tokens that were exchanged, changed, or made by another authority."""
    first, second = (timestamping.token_path(path) for path in find_checkpoints(stamped))
    original = first.read_bytes()
    first.chmod(0o644)
    first.write_bytes(second.read_bytes())
    assert verify(stamped).state is VerifyState.TAMPERED
    changed = bytearray(original)
    changed[-20] ^= 1
    first.write_bytes(changed)
    assert verify(stamped, tsa=authority[1]).state is VerifyState.TAMPERED
    first.write_bytes(b"no token")
    assert verify(stamped).state is VerifyState.TAMPERED
    first.write_bytes(original)
    assert verify(stamped, tsa=authority[1]).state is VerifyState.SOUND
    assert verify(stamped, tsa=authority[2]).state is VerifyState.TAMPERED


def test_what_the_authority_saw_before_a_key_was_revoked_stays_believed(stamped, authority, tmp_path):
    """A third party's time proves that a signature is older than the theft; the signer's own time does not."""
    kept = tmp_path / "kept.pem"
    pem = next((stamped / "KEYS").iterdir()).read_text()
    kept.write_text(f"revoked: {datetime.now(UTC) + timedelta(minutes=1)}\n{pem}")
    assert verify(stamped, kept, authority[1]).findings == ()
    assert verify(stamped, kept).state is VerifyState.UNKNOWN_KEY
    kept.write_text(f"revoked: {datetime.now(UTC) - timedelta(minutes=1)}\n{pem}")
    assert verify(stamped, kept, authority[1]).state is VerifyState.UNKNOWN_KEY


def test_an_authority_that_does_not_answer_stops_no_run(tmp_path, monkeypatch):
    """The run is sealed without a token; the next checkpoint covers it."""
    monkeypatch.setenv(timestamping.URL_VARIABLE, "http://127.0.0.1:9/")
    make_run(tmp_path)
    assert not list((tmp_path / CHECKPOINTS).glob("*.tsr"))
    assert verify(tmp_path).state is VerifyState.SOUND
    assert os.environ[timestamping.URL_VARIABLE]
