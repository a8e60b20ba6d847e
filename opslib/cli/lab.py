"""`opslib lab`: JupyterLab on the runbooks, with a workspace and a kernel that are there."""

import argparse
import os
import sys
from pathlib import Path
from time import sleep
from typing import TYPE_CHECKING

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.notebooks_option import add_notebooks_argument
from opslib.errors import OpsError

if TYPE_CHECKING:
    from opslib.lab.watch import HandRunWatch

EVERY_S = 1.0
"""How often the runs made by hand are looked at [seconds]."""

MAX_PORT = 65535

EPILOG = """\
It listens on 127.0.0.1 only and keeps Jupyter's token. Ctrl-C ends it: kernels are interrupted, and a canary
that one of them runs returns its traffic first. If a kernel is restarted or dies, its run is undone and sealed.

example:
  opslib lab --sandbox        # opens notebooks/explore.ipynb; the sandbox stays up afterwards
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Open JupyterLab on the runbooks. The notebooks are copied if DIR has none; no file is overwritten."
    )
    parser.epilog = EPILOG
    add_notebooks_argument(parser)
    parser.add_argument("--sandbox", action="store_true", help="start the sandbox, unless it is up")
    parser.add_argument("--no-browser", action="store_true", help="print the address, open no browser")
    parser.add_argument("--port", type=_port, default=8888, help="first port to try on 127.0.0.1 (default: 8888)")
    add_archive_option(parser)


def _port(text: str) -> int:
    if not text.isdecimal() or not 1 <= int(text) <= MAX_PORT:
        raise argparse.ArgumentTypeError(f"expected a port from 1 to {MAX_PORT}, got {text!r}")
    return int(text)


def run(arguments: argparse.Namespace) -> int:
    """Prepare what is missing, print what was done, and run JupyterLab until it is stopped."""
    from opslib.lab.server import ensure_kernel, jupyterlab, stop_signals
    from opslib.lab.watch import HandRunWatch

    folder, archive = arguments.folder, archive_of(arguments).resolve()
    print(f"notebooks  {_prepare_notebooks(folder)}")
    print(f"workspace  {_prepare_sandbox() if arguments.sandbox else _describe_workspace()}")
    kernel = ensure_kernel()
    print(f"kernel     {kernel.python}{', installed now' if kernel.installed else ''}")
    print(f"runs       {os.path.relpath(archive)}", flush=True)
    root, page = _root_of(folder)
    watch = HandRunWatch(archive)
    with stop_signals() as stopped:
        with jupyterlab(
            root, page, {"OPSLIB_RUNS": str(archive)}, arguments.port, browser=not arguments.no_browser
        ) as server:
            while server.poll() is None and not stopped:
                _report(watch)
                sleep(EVERY_S)
            if stopped:
                print(
                    f"{stopped[0]}: ending the kernels; one that runs a canary returns its traffic first",
                    flush=True,
                )
        _report(watch)
    code = 0 if stopped else server.returncode
    print("JupyterLab has ended." if code == 0 else f"JupyterLab ended with exit code {code}.")
    if arguments.sandbox:
        print("The sandbox is still up; `opslib sandbox down` stops it.")
    return 1 if code else 0


def _prepare_notebooks(folder: Path) -> str:
    """Copy the runbooks where there are none; return what was done."""
    from opslib.runner.notebooks import copy_notebooks

    if any(folder.glob("*.ipynb")):
        return f"{folder}, kept as it is"
    return f"{folder}, {len(copy_notebooks(folder))} notebooks copied"


def _prepare_sandbox() -> str:
    """Start the sandbox unless it is up; return its address."""
    from opslib.sandbox.cli.control import SandboxError, last_settings, start
    from opslib.sandbox.core.home import Home

    home = Home.find(None)
    already = home.read_note() is not None
    try:
        note = start(home, last_settings(home), 0)
    except SandboxError as error:
        raise OpsError(str(error)) from error
    state = "was up already" if already else "started"
    return f'sandbox at {note["url"]}, {state}: target = "sandbox"'


def _describe_workspace() -> str:
    """Name the workspaces that a notebook can use as it is."""
    from opslib.sandbox.core.home import Home

    here = Path.cwd()
    found = (
        folder / place for folder in (here, *here.parents) for place in (".azureml/config.json", "config.json")
    )
    config = next((path for path in found if path.is_file()), None)
    known = [f'{config}: target = "azure"'] if config else []
    note = Home.find(None).read_note()
    known += [f'sandbox at {note["url"]}: target = "sandbox"'] if note else []
    return "; ".join(known) or "none found: put your workspace's config.json here, or use --sandbox"


def _root_of(folder: Path) -> tuple[Path, str]:
    """Return the folder that JupyterLab shows, and the page to open: here if the notebooks are below it."""
    folder, here = folder.resolve(), Path.cwd()
    root = here if folder.is_relative_to(here) else folder
    first = folder / "explore.ipynb"
    page = first if first.exists() else folder
    return root, "" if page == root else page.relative_to(root).as_posix()


def _report(watch: "HandRunWatch") -> None:
    for line in watch.end_dead_runs():
        print(line, file=sys.stderr, flush=True)
