"""JupyterLab as `opslib lab` starts it: on loopback, with Jupyter's token, and a kernel of this Python."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from opslib.errors import OpsError
from opslib.lab import jupyter
from opslib.signals import handled

KERNEL = "python3"
"""Name of the kernel that the runbooks name."""

UNDO_S = 240
"""How long a kernel that is shut down may take: half of it until Jupyter sends SIGTERM, which would end an undo
[seconds]."""


@dataclass(frozen=True)
class Kernel:
    """The kernel of the runbooks: the Python that it runs, and whether it was installed now."""

    python: str
    installed: bool


def ensure_kernel() -> Kernel:
    """Return the kernel that the notebooks name; install it into this environment if another Python has its name.

    Raises
    ------
    OpsError
        If it cannot be installed.
    """
    os.environ["JUPYTER_PREFER_ENV_PATH"] = "1"  # this environment's kernel before one in the home folder
    if _runs_this_python():
        return Kernel(sys.executable, installed=False)
    from ipykernel.kernelspec import install  # noqa: PLC0415 - a quarter of a second

    try:
        install(prefix=sys.prefix)
    except OSError as error:
        raise OpsError(f"the kernel {KERNEL} is another Python's, and cannot be installed here: {error}") from error
    if not _runs_this_python():
        raise OpsError(
            f"the kernel {KERNEL} is another Python's, although it was installed into {sys.prefix}: "
            "`jupyter kernelspec list` shows which; remove that one"
        )
    return Kernel(sys.executable, installed=True)


def _runs_this_python() -> bool:
    """Return whether the kernel starts this Python; Jupyter replaces a bare name by the server's Python."""
    from jupyter_client.kernelspec import KernelSpecManager  # noqa: PLC0415 - a quarter of a second

    program = Path(KernelSpecManager().get_kernel_spec(KERNEL).argv[0])
    return not program.is_absolute() or program.parent == Path(sys.executable).parent


@contextmanager
def jupyterlab(
    root: Path, page: str, variables: Mapping[str, str], port: int, *, browser: bool
) -> Iterator["subprocess.Popen[bytes]"]:
    """Run JupyterLab during the block; at its end the kernels are interrupted, so that they undo their changes.

    Parameters
    ----------
    root
        The folder that is shown.
    page
        The file that is opened, relative to it.
    variables
        Added to the environment of the server and its kernels.
    port
        The first port to try.
    browser
        Whether to open a browser.
    """
    command = [sys.executable, "-m", jupyter.__name__, str(os.getpid())]
    command += ["--ServerApp.ip=127.0.0.1", f"--ServerApp.port={port}"]
    command += [f"--ServerApp.root_dir={root}", f"--LabApp.default_url=/lab/tree/{page}", "--log-level=WARN"]
    command += [f"--KernelManager.shutdown_wait_time={UNDO_S}"]
    command += [] if browser else ["--no-browser"]
    command += ["--allow-root"] if os.geteuid() == 0 else []
    # a session of its own: Ctrl-C comes here alone, and Jupyter does not prompt for its confirmation
    server = subprocess.Popen(
        command, env={**os.environ, **_with_config(), **variables}, stdin=subprocess.DEVNULL, start_new_session=True
    )
    try:
        yield server
    finally:
        if server.poll() is None:
            server.terminate()
        server.wait()


def _with_config() -> dict[str, str]:
    """Return the variable by which Jupyter finds the settings of `opslib lab`: no news, no updates."""
    paths = (str(Path(__file__).parent / "jupyter_config"), os.environ.get("JUPYTER_CONFIG_PATH", ""))
    return {"JUPYTER_CONFIG_PATH": os.pathsep.join(path for path in paths if path)}


@contextmanager
def stop_signals() -> Iterator[list[str]]:
    """Collect Ctrl-C and SIGTERM during the block, by name, instead of ending at once."""
    seen: list[str] = []

    with handled(lambda signum: seen.append(signum.name), signal.SIGINT, signal.SIGTERM):
        yield seen
