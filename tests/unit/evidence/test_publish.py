"""Off the machine: sealed runs in a real Azurite, created once, never overwritten, read by the same commands."""

import json
import shutil
import subprocess
import sys

import pytest
from azurite_fixture import Caller, container_client, running_azurite
from evidence_fixture import contents, make_archive, make_run, open_run

from opslib.azure.blob_container import Container, open_container
from opslib.cli.main import main
from opslib.errors import AzureError, ParameterError, RecordError
from opslib.evidence import finish
from opslib.evidence.publish import mirror, publish
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import LEDGER, SEAL
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome


@pytest.fixture(scope="module")
def azurite(tmp_path_factory):
    with running_azurite(tmp_path_factory.mktemp("azurite")) as running:
        yield running


@pytest.fixture
def url(azurite, monkeypatch, request):
    """An empty container, and a caller signed in."""
    monkeypatch.setenv("REQUESTS_CA_BUNDLE", str(azurite.certificate))
    monkeypatch.setattr("azure.identity.DefaultAzureCredential", Caller)
    address = f"{azurite.url}/c{abs(hash(request.node.nodeid)):x}"
    with container_client(address) as client:
        client.create_container()
    return address


@pytest.fixture
def archive(tmp_path):
    make_archive(tmp_path / "runs", 2)
    return tmp_path / "runs"


def evidence(folder):
    return {name: content for name, content in contents(folder).items() if not name.startswith(".")}


def test_what_was_published_is_the_archive(url, archive):
    """Every file, byte for byte; the copy verifies like the original, and doing it again does nothing."""
    with open_container(url) as container:
        first = publish(archive, [], container)
        assert first.uploaded == len(evidence(archive))
        assert (first.present, first.left_out) == (0, [])
        with mirror(container) as copy:
            assert evidence(copy) == evidence(archive)
            assert verify(copy).state is VerifyState.SOUND
        again = publish(archive, [], container)
    assert (again.uploaded, again.present) == (0, first.uploaded - 1)  # no new line, no segment


def test_a_growing_archive_is_published_piece_by_piece(url, archive):
    """The ledger goes there in segments, each created once; together they are the ledger."""
    with open_container(url) as container:
        publish(archive, [], container)
        for _ in range(2):
            make_run(archive)
            publish(archive, [], container)
        segments = [name for name in container.sizes() if name.startswith("LEDGER/")]
        assert len(segments) == 3
        with mirror(container) as copy:
            assert (copy / LEDGER).read_bytes() == (archive / LEDGER).read_bytes()
            assert verify(copy).state is VerifyState.SOUND


class Breaks(Container):
    """A container to which the line breaks after so many creations."""

    def __init__(self, whole, count):
        super().__init__(whole._client, whole.url)
        self.count = count

    def create(self, name, content):
        self.count -= 1
        if self.count < 0:
            raise AzureError("the line broke")
        return super().create(name, content)


def test_a_broken_publication_is_incomplete_and_goes_on(url, archive):
    """Broken off at every file in turn: never taken for tampering, finished by doing it again."""
    whole = len(evidence(archive))
    with open_container(url) as container:
        for _ in range(whole):
            with pytest.raises(AzureError, match="the line broke"):
                publish(archive, [], Breaks(container, 1))
            if any(name.startswith("LEDGER/") for name in container.sizes()):
                with mirror(container) as copy:
                    state = verify(copy, missing_is_tampered=False).state
                    left = len(evidence(archive)) - len(evidence(copy))
                    assert state is VerifyState.SOUND if not left else state is not VerifyState.SOUND
            if len(container.sizes()) == whole - 1:
                break
        publish(archive, [], container)
        with mirror(container) as copy:
            assert verify(copy).state is VerifyState.SOUND


def test_another_file_under_the_same_name_is_never_overwritten(url, archive):
    """A blob with other content is an error that names both digests; it is not overwritten."""
    run = next(archive.glob(f"2*/*/{SEAL}"))
    name = run.relative_to(archive).as_posix()
    with open_container(url) as container:
        container.create(name, b"something else")
        with pytest.raises(RecordError, match="has other content"):
            publish(archive, [], container)
        assert container.read(name) == b"something else"


def test_another_archives_ledger_is_refused(url, archive, tmp_path):
    """Two archives cannot share a container: their ledgers are two chains."""
    make_archive(tmp_path / "other", 1)
    with open_container(url) as container:
        publish(tmp_path / "other", [], container)
        with pytest.raises(RecordError, match="another archive"):
            publish(archive, [], container)


def test_what_is_open_quarantined_or_altered_stays_at_home(url, archive):
    """Only sealed, sound runs without secrets are published; the others are listed."""
    altered = next(archive.glob("2*/*"))
    folder, _ = open_run(archive)
    leaky, record = open_run(archive)
    (leaky / "leak.txt").write_text("Authorization: Bearer " + "a" * 30)
    finish.end_run(leaky, record.ended(Outcome.HELD, "it leaked"))
    altered.chmod(0o755)
    (altered / "run.json").chmod(0o644)
    (altered / "run.json").write_text("{}")
    with open_container(url) as container:
        published = publish(archive, [], container)
        names = set(container.sizes())
    run_lock.release(folder)
    assert len(published.left_out) == 3
    assert {"not sealed" in r or "quarantined" in r or "changed after" in r for r in published.left_out} == {True}
    assert not any(stay.name in name for name in names for stay in (folder, leaky, altered))


def test_the_commands_work_from_there(url, archive, capsys, monkeypatch):
    """publish, runs, runs show and verify, with nothing local but the program."""
    run = next(archive.glob("2*/*")).name
    assert main(["publish", run, "--to", url, "--runs", str(archive)]) == 0
    assert main(["verify", "--from", url]) == 2
    assert ": missing" in capsys.readouterr().out
    assert main(["publish", "--to", url, "--runs", str(archive)]) == 0
    capsys.readouterr()
    shutil.rmtree(archive)
    assert main(["runs", "--from", url]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2
    assert main(["runs", "show", run, "--from", url]) == 0
    assert run in capsys.readouterr().out
    assert main(["verify", "--from", url]) == 0
    assert main(["verify", run, "--from", url]) == 0


def test_sql_over_published_runs(url, archive, tmp_path, capsys, monkeypatch):
    """runs --sql reads the table from there, before and after opslib compact; local runs answer the same SELECT."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    sql = "SELECT run, outcome, duration_s FROM runs WHERE endpoint = 'fraud' ORDER BY run"
    assert main(["publish", "--to", url, "--runs", str(archive)]) == 0
    capsys.readouterr()
    assert main(["runs", "--sql", sql, "--json", "--runs", str(archive)]) == 0
    expected = json.loads(capsys.readouterr().out)
    assert [row["outcome"] for row in expected] == ["succeeded"] * 2
    for command in (["runs"], ["compact", url], ["runs"]):
        if command == ["runs"]:
            assert main(["runs", "--from", url, "--sql", sql, "--json"]) == 0
            shown = capsys.readouterr()
            assert json.loads(shown.out) == expected
            assert "the table holds all 2 sealed runs of the ledger" in shown.err
        else:
            assert main(command) == 0
            assert "2 runs; 1 months rewritten, 0 rows added" in capsys.readouterr().out
    assert main(["verify", "--from", url]) == 0
    capsys.readouterr()
    assert main(["runs", "--from", url, "--limit", "1", "--sql", "SELECT chr(27) || run AS run FROM runs"]) == 0
    shown = capsys.readouterr()
    assert "\x1b" not in shown.out
    assert "the first 1 rows are shown" in shown.err
    assert main(["runs", "--from", url, "--sql", sql, "--outcome", "failed"]) == 2
    assert "put the condition into the SELECT" in capsys.readouterr().err


def test_a_name_that_leads_elsewhere_is_found(url, archive):
    """A blob whose name would leave the folder becomes a finding."""
    with open_container(url) as container:
        publish(archive, [], container)
        container.create("2026-11\\..\\..\\evil.txt", b"x")
        with mirror(container) as copy:
            assert verify(copy).state is VerifyState.TAMPERED


@pytest.mark.parametrize(
    "address",
    ["http://a.blob.core.windows.net/c", "https://a.blob.core.windows.net/c?sv=1&sig=hunter2", "c", "https://a/"],
)
def test_an_address_with_a_secret_or_without_a_container_is_refused(address):
    """opslib signs in as you: a SAS has no place on a command line, and is not shown."""
    with pytest.raises(ParameterError, match="expected https") as caught, open_container(address):
        pass
    assert "hunter2" not in str(caught.value)


def test_an_address_is_shown_as_it_was_given():
    """A path that was meant as an archive is read back as it was typed; a user's name and password are not."""
    with pytest.raises(ParameterError, match=r"got /srv/runs$"), open_container("/srv/runs"):
        pass
    with (
        pytest.raises(ParameterError, match=r"got http://host/c$"),
        open_container("http://me:hunter2@host/c?sig=x"),
    ):
        pass


SIGNED_OUT = """
import logging
from azure.core.exceptions import ClientAuthenticationError
from opslib.azure.blob_container import open_container
from opslib.errors import ConnectError

class SignedOut:
    def get_token(self, *scopes):
        logging.getLogger("azure.identity._credentials.chained").warning("failed to retrieve a token")
        raise ClientAuthenticationError(f"{scopes}: Azure CLI not found")

try:
    with open_container("https://account.blob.core.windows.net/c", SignedOut()):
        print("opened")
except ConnectError as error:
    print(error)
"""


def test_a_person_who_is_not_signed_in_reads_so_once():
    """Before anything is sent, which azure-storage-blob would try for a minute; azure-identity logs nothing."""
    done = subprocess.run([sys.executable, "-c", SIGNED_OUT], check=True, capture_output=True, text=True)
    assert done.stderr == ""
    assert done.stdout.startswith("azure-identity found no credential. Sign in with `az login`, or ")
    assert done.stdout.endswith("('https://storage.azure.com/.default',): Azure CLI not found\n")


def test_a_container_that_is_not_there_is_an_error_of_ours(url):
    """The service's refusal is reported in one line."""
    with open_container(f"{url}-nowhere") as container, pytest.raises(AzureError, match="404"):
        container.sizes()
