"""Publication beside runs that end meanwhile, and what is in a container beside what was published."""

import os

import pytest
from container_fixture import Memory
from evidence_fixture import make_archive, make_run, open_run

from opslib.errors import RecordError
from opslib.evidence.archive.run_row import read_row
from opslib.evidence.archive.segments import segment_name
from opslib.evidence.finish import end_run
from opslib.evidence.publish import mirror, publish
from opslib.evidence.run.files import LEDGER
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.signing.keys import find_key
from opslib.evidence.table import engine
from opslib.evidence.table.file_cache import FileCache
from opslib.evidence.table.ledger_runs import ledger_runs
from opslib.evidence.verify.verify import Verified, verify
from opslib.model import Outcome


@pytest.fixture
def archive(tmp_path):
    make_archive(tmp_path / "runs", 2)
    return tmp_path / "runs"


@pytest.fixture
def published(archive):
    container = Memory()
    publish(archive, [], container)
    return container


def verified(container: Memory) -> Verified:
    with mirror(container) as copy:
        return verify(copy)


def test_a_run_that_ends_during_a_publication_is_left_to_the_next_one(archive):
    """Its folder is not published without its lines of the ledger: that would look as if they had been removed."""

    class Busy(Memory):
        def create(self, name, content):
            if name.startswith("LEDGER/") and not self.sizes("LEDGER/"):
                make_run(archive)
            return super().create(name, content)

    container = Busy()
    publish(archive, [], container)
    assert (verified(container).state, verified(container).runs) == (VerifyState.SOUND, 2)
    publish(archive, [], container)
    assert (verified(container).state, verified(container).runs) == (VerifyState.SOUND, 3)


def test_a_private_key_beside_the_public_ones_is_not_published(archive):
    """It was put there by mistake; an immutable container would keep it."""
    find_key(archive / "KEYS" / "signing-key.pem", "of a test")
    container = Memory()
    with pytest.raises(RecordError, match=r"signing-key\.pem does not contain public keys"):
        publish(archive, [], container)
    assert container.blobs == {}


@pytest.mark.parametrize(
    "name", ["LEDGER/notes.txt", "LEDGER/1-2.jsonl", "README.md/x", "KEYS", f"{LEDGER}/x", "x" * 300]
)
def test_a_blob_that_was_put_beside_the_archive_is_reported(archive, published, name):
    """It ends neither a verification nor a publication."""
    published.create("README.md", b"ours")
    published.create(name, b"theirs")
    found = verified(published)
    assert found.state is VerifyState.TAMPERED
    assert any("unexpected file" in finding.message for finding in found.findings)
    make_run(archive)
    assert publish(archive, [], published).left_out == []


def test_a_ledger_of_more_than_a_million_lines_is_joined_in_order():
    """The numbers of its segments have seven digits then, and names no longer sort as numbers do."""
    container, lines = Memory(), [b"%d\n" % number for number in range(1, 1_000_004)]
    for first, last in ((1, 999_990), (999_991, 1_000_001), (1_000_002, 1_000_003)):
        container.create(segment_name(first, last), b"".join(lines[first - 1 : last]))
    with mirror(container) as copy:
        assert (copy / LEDGER).read_bytes() == b"".join(lines)


def test_two_queries_at_once_read_the_same_ledger(published, tmp_path, monkeypatch):
    """One that ends first does not take away the files that the other one reads or writes."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    cache, ends = FileCache(published), list[object]()

    def interrupted(*views, **options):
        if not ends:
            ends.append(None)
            ends[0] = ledger_runs(published, cache)
        return engine.opened(*views, **options)

    monkeypatch.setattr("opslib.evidence.table.ledger_runs.opened", interrupted)
    assert ledger_runs(published, cache) == ends[0]


@pytest.mark.parametrize("name", [b"\xff.csv", b"a\\b.csv", b"a\x01.csv", b"\xed\xa0\x80.csv"])
def test_a_file_of_a_run_may_have_any_name(archive, name):
    """What no text and no blob can be named is renamed before the seal; else the run would look altered."""
    folder, record = open_run(archive)
    (folder / os.fsdecode(name)).write_text("1,2")
    end_run(folder, record.ended(Outcome.SUCCEEDED, "done"))
    assert verify(archive).state is VerifyState.SOUND
    container = Memory()
    publish(archive, [], container)
    assert verified(container).state is VerifyState.SOUND
    (kept,) = folder.glob("*.csv")
    assert kept.read_text() == "1,2"


def test_a_record_with_text_that_is_none_is_published_with_the_others(archive):
    """A command line in another encoding, or a message with such a file name, holds half of a character."""
    folder, record = open_run(archive, ticket="CHG-\udcff")
    end_run(folder, record.ended(Outcome.SUCCEEDED, "done"))
    container = Memory()
    assert publish(archive, [], container).left_out == []
    assert read_row(archive, f"{folder.parent.name}/{folder.name}").ticket == "CHG-?"
    assert (verified(container).state, verified(container).runs) == (VerifyState.SOUND, 3)
