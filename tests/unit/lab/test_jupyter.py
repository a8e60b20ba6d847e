"""JupyterLab as a child of `opslib lab`."""

import os
import signal
import subprocess
import sys
from pathlib import Path

from awaiting import wait_until

from opslib.lab import jupyter

STAND_IN = "import os, pathlib, time\npathlib.Path('pid').write_text(str(os.getpid()))\ntime.sleep(60)\n"

PARENT = f"import os, subprocess, sys\nsubprocess.run([sys.executable, {jupyter.__file__!r}, str(os.getpid())])\n"


def test_jupyterlab_ends_when_opslib_lab_is_killed(tmp_path: Path):
    """Otherwise its kernels, and a canary in one of them, would go on without a watch."""
    (tmp_path / "jupyterlab").mkdir()
    (tmp_path / "jupyterlab/__init__.py").write_text("")
    (tmp_path / "jupyterlab/__main__.py").write_text(STAND_IN)
    written = tmp_path / "pid"
    environment = os.environ | {"PYTHONPATH": str(tmp_path)}
    with subprocess.Popen([sys.executable, "-c", PARENT], cwd=tmp_path, env=environment) as parent:
        try:
            child = int(wait_until(lambda: written.exists() and written.read_text()))
        finally:
            parent.send_signal(signal.SIGKILL)
    wait_until(lambda: not _runs(child))


def _runs(pid: int) -> bool:
    try:
        return "State:\tZ" not in Path(f"/proc/{pid}/status").read_text()
    except OSError:  # it ended, before or while it was read
        return False
