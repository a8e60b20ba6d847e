"""A runbook in JupyterLab, in a real browser, as an engineer opens it."""

import os
import secrets
import shutil
import socket
import subprocess
import sys
from contextlib import closing

import httpx
import nbformat
import pytest
from awaiting import wait_until
from playwright.sync_api import sync_playwright

from opslib.evidence.archive import read_archive
from opslib.model import Outcome
from opslib.runbook import find_notebook

CHROMIUM = shutil.which("chromium")

pytestmark = pytest.mark.skipif(CHROMIUM is None, reason="needs Debian's chromium: apt-get install chromium")


@pytest.fixture
def lab(tmp_path, world):
    """JupyterLab on a folder with the canary runbook, its parameters filled in as a person would."""
    notebook = nbformat.read(find_notebook("canary"), as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    world.create("green")
    for name, value in {"endpoint": repr(world.name), "canary": "'green'", "dry_run": "True"}.items():
        cell.source += f"\n{name} = {value}"
    nbformat.write(notebook, tmp_path / "canary.ipynb")
    with closing(socket.socket()) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    token = secrets.token_hex(8)
    command = [sys.executable, "-m", "jupyterlab", "--no-browser", "--allow-root", "--ServerApp.ip=127.0.0.1"]
    command += [f"--ServerApp.port={port}", f"--ServerApp.root_dir={tmp_path}", f"--IdentityProvider.token={token}"]
    environment = os.environ | {"JUPYTER_CONFIG_DIR": str(tmp_path / "config"), "OPSLIB_RUNS": str(world.runs)}
    server = subprocess.Popen(command, env=environment, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    address = f"http://127.0.0.1:{port}"

    def answers():
        try:
            return httpx.get(f"{address}/api/status", params={"token": token}).is_success
        except httpx.HTTPError:
            return False

    try:
        wait_until(answers, within_s=60)
        yield f"{address}/lab/workspaces/test/tree/canary.ipynb?token={token}"
    finally:
        server.terminate()
        server.wait(30)


def test_run_all_shows_the_plan_and_leaves_a_record(lab, world, tmp_path):
    """Every cell runs in the browser; the tables are there to read, and the run is in the archive."""
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        )
        page = browser.new_page(viewport={"width": 1280, "height": 3000})
        page.goto(lab)
        page.get_by_text("Python 3 (ipykernel) | Idle").wait_for(timeout=60_000)
        page.locator(".lm-MenuBar-itemLabel", has_text="Run").click()
        page.get_by_text("Run All Cells", exact=True).click()
        try:
            page.get_by_text("dry run: no traffic was moved").first.wait_for(timeout=60_000)
            shown = page.locator(".jp-OutputArea-output").all_inner_texts()
        finally:
            page.screenshot(path=tmp_path / "lab.png")
            browser.close()
    text = "\n".join(shown)
    assert "traffic blue=100 -> blue=90 green=10" in text
    assert "az ml online-endpoint update" in text
    assert "Traceback" not in text
    wait_until(lambda: [r for _, r in read_archive(world.runs) if r.outcome is Outcome.PLANNED])
