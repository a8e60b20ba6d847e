"""What `opslib lab` prepares, and what it does with a run whose kernel died."""

import json
import platform
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from evidence_fixture import open_run

from opslib.errors import OpsError
from opslib.evidence.run import run_lock
from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.evidence.run.record import read_record, write_record
from opslib.evidence.verify.verify import verify
from opslib.lab import server, watch
from opslib.lab.watch import HandRunWatch
from opslib.model import Outcome


@pytest.fixture
def kernels(tmp_path, monkeypatch):
    """An environment of its own, in which a kernel can be registered for another Python."""
    monkeypatch.setattr(sys, "prefix", str(tmp_path / "environment"))
    folder = tmp_path / "environment" / "share" / "jupyter" / "kernels" / "python3"
    monkeypatch.setenv("JUPYTER_PATH", str(folder.parents[1]))
    folder.mkdir(parents=True)
    return folder / "kernel.json"


@pytest.mark.parametrize(("program", "installed"), [("/opt/other/bin/python", True), ("python", False)])
def test_the_kernel_is_this_pythons(kernels, program, installed):
    """Another Python's kernel of the same name lacks opslib: this one's is installed into the environment."""
    kernels.write_text(json.dumps({"argv": [program, "-m", "ipykernel_launcher"], "display_name": "x"}))
    assert server.ensure_kernel() == server.Kernel(sys.executable, installed)
    if installed:
        assert json.loads(kernels.read_text())["argv"][0] == sys.executable


def test_a_kernel_that_cannot_be_installed_is_refused(kernels, monkeypatch):
    """An environment that belongs to another user names the reason."""
    kernels.write_text(json.dumps({"argv": ["/opt/other/bin/python"], "display_name": "x"}))
    monkeypatch.setattr(
        "ipykernel.kernelspec.install", lambda **_: (_ for _ in ()).throw(PermissionError("denied"))
    )
    with pytest.raises(OpsError, match="cannot be installed here: denied"):
        server.ensure_kernel()


def dead_run(archive: Path, **fields) -> Path:
    """A run whose process died."""
    folder, record = open_run(archive, host=platform.node())
    write_record(folder, replace(record, **fields))
    run_lock.release(folder)
    return folder


def test_a_run_whose_kernel_died_is_undone_and_sealed(tmp_path, monkeypatch):
    """As a runner's guardian does it; the run of a runner, a recorded one and an earlier one are left alone."""
    monkeypatch.setattr(watch, "undo_if_interrupted", lambda folder: f"traffic was restored: {folder.name[-6:]}")
    earlier = dead_run(tmp_path, started_at=datetime.now(UTC) - timedelta(hours=1))
    seen = HandRunWatch(tmp_path)
    ours = dead_run(tmp_path)
    others = [
        dead_run(tmp_path, notebook_sha256="ab" * 32),
        dead_run(tmp_path, host="elsewhere"),
        dead_run(tmp_path),
    ]
    Journal(others[-1]).write(JournalEvent.FINISHED, {})
    alive, _ = open_run(tmp_path, host=platform.node())
    lines = list(seen.end_dead_runs())
    assert lines == [
        f"{ours.name}: aborted: its kernel was restarted, killed or closed; traffic was restored: {ours.name[-6:]}"
    ]
    assert read_record(ours).outcome is Outcome.ABORTED
    assert all(read_record(folder).outcome is None for folder in (earlier, alive, *others))
    assert list(seen.end_dead_runs()) == []
    run_lock.release(alive)
    assert not [one for one in verify(tmp_path).findings if one.run == ours.name]


def test_before_the_first_run_there_is_nothing_to_watch(tmp_path):
    """The archive's folder is made by the first run."""
    assert list(HandRunWatch(tmp_path / "runs").end_dead_runs()) == []
