"""A runbook in JupyterLab, in a real browser, as an engineer opens it; and its evidence, as an auditor does."""

import json
import os
import secrets
import shutil
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import httpx
import nbformat
import pytest
from awaiting import wait_until
from evidence_fixture import contents
from playwright.sync_api import sync_playwright

from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runner.notebooks import find_notebook

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture
def canary_world(make_world):
    return make_world(green={})


@pytest.fixture
def lab(tmp_path, canary_world):
    """JupyterLab on a folder with the canary runbook, its parameters filled in as a person would."""
    notebook = nbformat.read(find_notebook("canary"), as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    for name, value in {"endpoint": repr(canary_world.name), "canary": "'green'", "dry_run": "True"}.items():
        cell.source += f"\n{name} = {value}"
    nbformat.write(notebook, tmp_path / "canary.ipynb")
    with jupyterlab(tmp_path, {"OPSLIB_RUNS": str(canary_world.runs)}) as opened:
        yield opened("canary.ipynb")


@contextmanager
def jupyterlab(folder, variables) -> Iterator[Callable[..., str]]:
    """JupyterLab on a folder, saving what it has changed every second; yields the address of a file's page."""
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    settings = folder / "lab-settings" / "@jupyterlab" / "docmanager-extension" / "plugin.jupyterlab-settings"
    settings.parent.mkdir(parents=True)
    settings.write_text(json.dumps({"autosave": True, "autosaveInterval": 1}))
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={folder}", f"--IdentityProvider.token={token}"]
    places = {"JUPYTER_CONFIG_DIR": str(folder / "config"), "JUPYTERLAB_SETTINGS_DIR": str(folder / "lab-settings")}
    server = subprocess.Popen(
        command, env=os.environ | places | variables, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    )
    address = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return httpx.get(f"{address}/api/status", params={"token": token}).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, within_s=60)
        yield lambda path, tab="test": f"{address}/lab/workspaces/{tab}/tree/{path}?token={token}"
    finally:
        server.terminate()
        try:
            server.wait(30)
        except subprocess.TimeoutExpired:  # it waits for its kernels; what is tested has ended
            server.kill()
            server.wait()


@contextmanager
def chromium():
    """A browser without a past."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        try:
            yield browser.new_context(viewport={"width": 1280, "height": 3000})
        finally:
            browser.close()


def test_run_all_shows_the_plan_and_leaves_a_record(lab, canary_world, tmp_path):
    """Every cell runs in the browser; the tables are there to read, and the run is in the archive."""
    with chromium() as browser:
        page = browser.new_page()
        page.goto(lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        page.get_by_text("Run All Cells", exact=True).click()
        try:
            page.get_by_text("dry run: no traffic was moved").first.wait_for(timeout=60_000)
            shown = page.locator(".jp-OutputArea-output").all_inner_texts()
        finally:
            page.screenshot(path=tmp_path / "lab.png")
    text = "\n".join(shown)
    assert "traffic blue=100 -> blue=90 green=10" in text
    assert "az ml online-endpoint update" in text
    assert "Traceback" not in text
    wait_until(lambda: [r for _, r in read_archive(canary_world.runs) if r.outcome is Outcome.PLANNED])


def test_looking_at_an_archived_notebook_alters_nothing(make_world, tmp_path):
    """Opened and rendered, for longer than Lab takes to save a notebook that it did change: not a byte differs."""
    world = make_world(green={})
    folder, _ = world.run("canary", canary="green", dry_run=True)
    before = contents(folder)
    other = nbformat.read(folder / "notebook.ipynb", as_version=4)
    other.metadata.kernelspec.display_name = "A name under which no kernel is installed"
    nbformat.write(other, tmp_path / "other.ipynb")
    with jupyterlab(tmp_path, {}) as opened, chromium() as browser:
        page, beside = browser.new_page(), browser.new_page()
        saved = []
        browser.on("request", lambda asked: saved.append(asked.url) if asked.method == "PUT" else None)
        page.goto(opened((folder / "notebook.ipynb").relative_to(tmp_path).as_posix(), "archived"))
        page.get_by_text("dry run: no traffic was moved").first.wait_for(timeout=60_000)
        beside.goto(opened("other.ipynb", "other"))
        beside.get_by_text("dry run: no traffic was moved").first.wait_for(timeout=60_000)
        wait_until(lambda: beside.wait_for_timeout(200) or any("/api/contents/other" in url for url in saved))
    assert not any("/api/contents/runs" in url for url in saved)
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert verify(world.runs).findings == ()
