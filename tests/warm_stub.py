"""A prepared process that has imported nothing, and a command line that shows what a run would find."""

import json
import os
import signal
import sys
import tempfile
from pathlib import Path


def main(words: list[str]) -> int:
    """Stand in for opslib's command line in a fork: `run WHAT ...`."""
    what = words[1]
    if what == "show":
        found = {
            "words": words,
            "environment": dict(os.environ),
            "folder": str(Path.cwd()),
            "session": os.getsid(0) == os.getpid(),
            "input": sys.stdin.read(),
            "temporary": tempfile.gettempdir(),
            "quit_ignored": signal.getsignal(signal.SIGQUIT) is signal.SIG_IGN,
        }
        print(json.dumps(found))
        print("aside", file=sys.stderr)
    if what == "wait":
        signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
        print(os.getpid(), flush=True)
        if signal.sigtimedwait([signal.SIGTERM], 600):  # a handler called just before a sleep would not end it
            sys.exit(7)
    return int(words[-1]) if words[-1].isdecimal() else 0


if __name__ == "__main__":
    from opslib.warm import imports, prepared_run, server

    sys.modules["warm_stub"] = sys.modules["__main__"]
    vars(prepared_run).update(COMMAND_LINE="warm_stub", fork_the_server=lambda *_: None)
    vars(imports).update(prepare=tempfile.gettempdir)
    server.IDLE_S = float(sys.argv[3])
    server.main(Path(sys.argv[1]), int(sys.argv[2]))
