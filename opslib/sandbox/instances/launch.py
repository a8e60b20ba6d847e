"""Become one instance: gunicorn with Microsoft's inference server, on loopback, dying with the sandbox.

Run by path as `python -P launch.py PARENT_PID -- GUNICORN_ARGUMENTS`, in the deployment's own folder and
environment. The server's own command line is not used because it binds 0.0.0.0
(azureml_inference_server_http.constants.DEFAULT_HOST); what its amlserver.py sets is set by the caller.
"""

import ctypes
import os
import signal
import sys
from typing import Any

PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent: int, number: signal.Signals) -> None:
    """Ask the kernel to signal this process when its parent ends."""
    ctypes.CDLL(None, use_errno=True).prctl(PR_SET_PDEATHSIG, int(number))
    if os.getppid() != parent:  # it ended before the request was made
        sys.exit(1)


def post_fork(_server: Any, _worker: Any) -> None:
    """Tie each gunicorn worker to its master, which may be killed without notice."""
    die_with_parent(os.getppid(), signal.SIGKILL)


def main() -> None:
    """Run the server with the arguments that gunicorn understands."""
    parent, arguments = int(sys.argv[1]), sys.argv[3:]
    die_with_parent(parent, signal.SIGKILL)
    # after the tie to the parent is made
    import gunicorn.app.wsgiapp  # type: ignore[import-untyped]  # noqa: PLC0415

    sys.argv = ["azmlinfsrv", *arguments]
    application = gunicorn.app.wsgiapp.WSGIApplication("%(prog)s [OPTIONS] [APP_MODULE]")
    application.cfg.set("post_fork", post_fork)
    application.run()


if __name__ == "__main__":
    main()
