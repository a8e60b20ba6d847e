"""A run from the prepared process, executed against the sandbox, beside one of the command's own process."""

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import asdict
from pathlib import Path

import pytest
from awaiting import wait_until
from prepared_opslib import start_opslib

from opslib.evidence.run.files import JOURNAL
from opslib.evidence.run.journal import read_journal
from opslib.evidence.run.record import read_record
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.warm.place import find_socket
from opslib.warm.starting import find_prepared, stop

OWN = {"run_id", "started_at", "finished_at", "seq", "previous_sha256", "started_sha256", "prepared_at"}
"""Fields of a record that no two runs share, and `prepared_at`."""

SECRET = "cla1ms-t0ken-of-the-client"


@pytest.fixture
def prepared(monkeypatch) -> Iterator[None]:
    """A prepared process that has imported what the tests' own one has."""
    folder = Path(tempfile.mkdtemp(prefix="warm"))  # a socket's path is at most 107 bytes long
    (folder / "opslib").mkdir(mode=0o700)
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(folder))
    settings = {"opslib.warm.imports.OF_A_DEPLOYMENT": ()}
    start_opslib(str(find_socket()), "1", folder=folder, settings=settings, module="opslib.warm.server")
    wait_until(find_prepared)
    yield
    stop()
    shutil.rmtree(folder)


@pytest.mark.usefixtures("prepared")
def test_a_prepared_run_leaves_the_same_evidence(make_world, monkeypatch):
    """The same files, events and fields; a secret of the client's environment is masked in both."""
    world = make_world(green={})
    monkeypatch.setenv("CLAIMS_TOKEN", SECRET)
    words = ["run", "rollback", "-p", f"endpoint={world.name}", "-p", "to=green", "-p", "dry_run=true"]
    words += ["--runs", str(world.runs), "--requester", SECRET]
    done = subprocess.run([sys.executable, "-m", "opslib", *words], check=True, capture_output=True, timeout=60)
    assert b"planned: dry run" in done.stdout
    stop()
    assert start_opslib(*words, folder=world.folder).wait(60) == 0
    first, second = sorted(world.runs.glob("2*/*"), key=lambda folder: read_record(folder).seq)
    records = [read_record(folder) for folder in (first, second)]
    assert [bool(record.prepared_at) for record in records] == [True, False]
    assert [record.requester for record in records] == ["[redacted]"] * 2
    one, other = ({name: value for name, value in asdict(record).items() if name not in OWN} for record in records)
    assert one.pop("rollback")["undo"] == other.pop("rollback")["undo"]  # and each names the run before it
    assert one == other
    assert one["outcome"] is Outcome.PLANNED
    assert files_and_events(first) == files_and_events(second)
    assert verify(world.runs).findings == ()


def files_and_events(folder: Path) -> tuple[list[str], list[str]]:
    """What a run left: the names of its files, and its journal's events."""
    files = sorted(str(path.relative_to(folder)) for path in folder.rglob("*"))
    return files, [str(line["event"]) for line in read_journal(folder / JOURNAL)]
