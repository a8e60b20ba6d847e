"""A notebook run by hand in JupyterLab: in the ledger from its start, sealed after its end."""

import os
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest
from notebook_fixture import RECORD

from opslib.cli.main import main
from opslib.evidence import finish
from opslib.evidence.archive import ledger
from opslib.evidence.run.files import NOTEBOOK, REPORT, SEAL
from opslib.evidence.run.record import read_record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.redaction.redact import redactor

BY_HAND = f"""
import os
from datetime import UTC, datetime
from pathlib import Path
from opslib.runbooks.run import _first_record
from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.run.run_lock import release
from opslib.parameters.rollback import RollbackParameters
folder = new_folder(Path("runs"), "rollback", "fraud")
_first_record(RollbackParameters.check({{"endpoint": "fraud"}}), folder)
os.environ["OPSLIB_RUN_FOLDER"] = str(folder)
{RECORD}
"""


@pytest.fixture
def left(tmp_path: Path) -> Path:
    """The folder of a run that was made by hand; its kernel has gone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", BY_HAND], cwd=tmp_path, check=True, env=environment)
    ((entry, alive),) = finish.unfinished_runs(tmp_path / "runs")
    assert not alive
    return tmp_path / "runs" / entry.folder


def save_notebook(path: Path, shown: str) -> Path:
    """Save a notebook with an output, as JupyterLab does."""
    output = nbformat.v4.new_output(
        "stream", text=f"\x1b[31m{shown}\x1b[0m, key s3cr3t-of-this-mach1ne\nand more\n"
    )
    cells = [nbformat.v4.new_markdown_cell("# Roll back"), nbformat.v4.new_code_cell("run", outputs=[output])]
    nbformat.write(nbformat.v4.new_notebook(cells=cells), path)
    return path


def test_a_run_by_hand_is_begun_in_the_ledger_and_sealed_afterwards(left, tmp_path):
    """The kernel never signs: `opslib seal` does, once the kernel has gone."""
    runs = tmp_path / "runs"
    assert verify(runs).state is VerifyState.INCOMPLETE
    assert not (runs / "KEYS").exists()
    done = subprocess.run(
        [sys.executable, "-m", "opslib", "seal", left.name],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sealed as succeeded" in done.stdout
    assert read_record(left).outcome is Outcome.SUCCEEDED
    assert [e.event for e in ledger.read_ledger(runs)] == ["started", "finished"]
    assert verify(runs).state is VerifyState.SOUND


def test_the_notebook_of_a_run_by_hand_is_sealed_with_it(left, tmp_path, monkeypatch, capsys):
    """As the runner keeps it: without colours, known secrets masked; and only the notebook of this very run."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("FRAUD_API_KEY", "s3cr3t-of-this-mach1ne")
    redactor.cache_clear()
    other, own = (
        save_notebook(tmp_path / "other.ipynb", "nothing"),
        save_notebook(tmp_path / "own.ipynb", left.name),
    )
    for wrong, problem in ((other, "no output of"), (tmp_path / "gone.ipynb", "cannot be read as a notebook")):
        assert main(["seal", left.name, "--notebook", str(wrong)]) == 1
        assert problem in capsys.readouterr().err
        assert not (left / SEAL).exists()
    assert main(["seal", left.name, "--notebook", str(own)]) == 0
    kept = nbformat.read(left / NOTEBOOK, as_version=4)
    assert kept.cells[1].outputs[0].text == f"{left.name}, key [redacted]\nand more\n"
    assert left.name in (left / REPORT).read_text(encoding="utf-8")
    assert verify(tmp_path / "runs").state is VerifyState.SOUND
    assert main(["seal", left.name, "--notebook", str(own)]) == 1
    assert "is sealed: nothing can be added" in capsys.readouterr().err
