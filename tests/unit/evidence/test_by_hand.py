"""A notebook run by hand in JupyterLab: in the ledger from its start, sealed after its end."""

import os
import subprocess
import sys

from notebook_fixture import RECORD

from opslib.evidence import finish
from opslib.evidence.archive import ledger
from opslib.evidence.run.record import read_record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome

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


def test_a_run_by_hand_is_begun_in_the_ledger_and_sealed_afterwards(tmp_path):
    """The kernel never signs: `opslib seal` does, once the kernel has gone."""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    subprocess.run([sys.executable, "-c", BY_HAND], cwd=tmp_path, check=True, env=environment)
    runs = tmp_path / "runs"
    ((entry, alive),) = finish.unfinished_runs(runs)
    assert not alive
    assert verify(runs).state is VerifyState.INCOMPLETE
    assert not (runs / "KEYS").exists()
    done = subprocess.run(
        [sys.executable, "-m", "opslib", "seal", entry.run],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "sealed as succeeded" in done.stdout
    assert read_record(runs / entry.folder).outcome is Outcome.SUCCEEDED
    assert [e.event for e in ledger.read_ledger(runs)] == ["started", "finished"]
    assert verify(runs).state is VerifyState.SOUND
