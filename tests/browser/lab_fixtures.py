"""One browser, one JupyterLab and one endpoint for the tests of a file: each takes seconds to start."""

import json
import os
import re
import shutil
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from awaiting import wait_until
from lab_page import PATIENCE_MS, TALL, WATCHED, fill
from playwright.sync_api import Browser, Page, sync_playwright
from runbook_world import World
from runbook_worlds import Worlds

from opslib.runner.notebooks import copy_notebooks

CHROMIUM = shutil.which("chromium")

SAVING = {"autosave": True, "autosaveInterval": 3, "lastModifiedCheckMargin": 600_000}
"""Save what has changed after three seconds; a slow machine's late timestamps are no other person's change."""

FORKED = {"KernelProvisionerFactory": {"default_provisioner_name": "opslib-prepared"}}
"""Fork the kernels as a runner does: each opened notebook has one, which would import for three CPU seconds."""


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    if CHROMIUM is None:
        pytest.skip("needs Debian's chromium: apt-get install chromium")
    arguments = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
    with sync_playwright() as playwright:
        opened = playwright.chromium.launch(executable_path=CHROMIUM, args=arguments)
        yield opened
        opened.close()


@pytest.fixture(scope="module")
def lab_world(worlds: Worlds, tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """An endpoint for a person in JupyterLab, with the runbooks and what that person has typed into them."""
    world = worlds.take(tmp_path_factory.mktemp("lab"), {"blue": {}, "green": {}})
    notebooks = world.folder / "notebooks"
    copy_notebooks(notebooks)
    fill(notebooks / "explore.ipynb", notebooks / "explore.ipynb", endpoint=world.name)
    for name, values in {"plan": {"canary": "green", "dry_run": True}, "watched": WATCHED}.items():
        fill(notebooks / "canary.ipynb", notebooks / f"{name}.ipynb", endpoint=world.name, **values)
    yield world
    worlds.give_back(world)


@pytest.fixture(scope="module")
def lab(lab_world: World) -> Iterator[str]:
    """The address of JupyterLab, opened by `opslib lab` in the endpoint's folder."""
    settings, output = lab_world.folder / "settings", lab_world.folder / "lab.txt"
    plugin = settings / "@jupyterlab" / "docmanager-extension" / "plugin.jupyterlab-settings"
    plugin.parent.mkdir(parents=True)
    plugin.write_text(json.dumps(SAVING))
    config = lab_world.folder / "config" / "jupyter_server_config.json"
    config.parent.mkdir()
    config.write_text(json.dumps(FORKED))
    places = {"JUPYTER_CONFIG_DIR": str(config.parent), "JUPYTERLAB_SETTINGS_DIR": str(settings)}
    with socket.socket() as free, output.open("wb") as file:
        free.bind(("127.0.0.1", 0))
        command = [sys.executable, "-m", "opslib", "lab", "--no-browser", "--port", str(free.getsockname()[1])]
        free.close()
        process = subprocess.Popen(
            command, cwd=lab_world.folder, env=os.environ | places, stdout=file, stderr=subprocess.STDOUT
        )
    try:
        found = wait_until(lambda: re.search(r"http://127\S+\?token=\w+", output.read_text()), PATIENCE_MS / 1000)
        yield found.group()
    finally:
        process.terminate()
        process.wait(PATIENCE_MS / 1000)


@pytest.fixture(scope="module")
def page(browser: Browser, lab: str) -> Iterator[Page]:
    """A tall window, in which all cells of a notebook are rendered, with JupyterLab in it."""
    context = browser.new_context(viewport=TALL, reduced_motion="reduce")
    context.set_default_timeout(PATIENCE_MS)
    page = context.new_page()
    page.goto(lab)
    page.get_by_role("heading", name="Look around").wait_for()
    yield page
    context.close()
