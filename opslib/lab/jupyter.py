"""JupyterLab in a process that ends with `opslib lab`, also where that is killed.

Run as `python -m opslib.lab.jupyter PARENT_PID ARGUMENTS`. SIGTERM lets Jupyter interrupt its kernels, which undo
their changes.
"""

import ctypes
import os
import runpy
import signal
import sys

PR_SET_PDEATHSIG = 1  # prctl(2)


def main() -> None:
    """Become JupyterLab, unless the parent has ended already."""
    parent = int(sys.argv.pop(1))
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))
    if os.getppid() != parent:  # it ended before the request was made
        sys.exit(1)
    runpy.run_module("jupyterlab", run_name="__main__", alter_sys=True)


if __name__ == "__main__":
    main()
