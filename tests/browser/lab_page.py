"""What a person does in JupyterLab, and how its effect is awaited."""

import re
from collections.abc import Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urljoin, urlsplit

import nbformat
from awaiting import wait_until
from nbformat.reader import NotJSONError
from playwright.sync_api import Locator, Page, ViewportSize
from runbook_world import World

from opslib.evidence.run.journal import JournalEvent, read_journal
from opslib.evidence.run.record import read_record
from opslib.lab.live import find_running
from opslib.model import Outcome

PATIENCE_MS = 180_000
"""Longest wait for what a page shows, on a loaded machine [milliseconds]."""

TALL = ViewportSize(width=1280, height=3000)
"""A window in which all cells of a notebook are rendered."""

WATCHED = {
    "canary": "green",
    "stages": [20, 100],
    "bake_s": 1,
    "max_bake_s": 1,
    "late_data_s": 1,
    "settle_s": 0,
    "warm_up_s": 0,
    "answer_s": 600,
    "on_hold": "ask",
}
"""Without clients there is no data, so that this canary requests a decision at once."""


def fill(source: Path, path: Path, **values: object) -> None:
    """Write a notebook with lines added to its parameters cell."""
    notebook = nbformat.read(source, as_version=4)
    parameters_of(notebook).source += "".join(f"\n{name} = {value!r}" for name, value in values.items())
    nbformat.write(notebook, path)


def read_notebook(path: Path) -> Any:
    """Read a notebook that is open; while JupyterLab saves it, the file is empty or cut off."""

    def read() -> Any:
        with suppress(NotJSONError):
            return nbformat.read(path, as_version=4)
        return None

    return wait_until(read)


def parameters_of(notebook: Any) -> Any:
    """The parameters cell of a notebook."""
    return next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))


def tab(page: Page) -> Locator:
    """The tab that is open: a search of all tabs looks at each element of each notebook, again and again."""
    return page.locator(".lm-DockPanel-widget:not(.lm-mod-hidden)")


def shown(page: Page, text: str) -> Locator:
    """A text in the tab that is open, not in one behind it."""
    return tab(page).get_by_text(text).filter(visible=True).first


def choose(page: Page, menu: str, item: str) -> None:
    """Choose from a menu; an item's name may be followed by its keys."""
    page.locator("#jp-MainMenu").get_by_role("menuitem", name=menu, exact=True).click()
    page.locator(".lm-Menu").get_by_role("menuitem", name=re.compile(f"^{item}")).click()


def await_kernel(page: Page) -> None:
    """Wait until the open notebook's own kernel is idle, first in the server and then in the page.

    The page alone does not tell: a new tab says `idle` before it has asked for a kernel, and the status bar
    names the kernel while it is asked for. Cells that are run then are emptied and not run.
    """
    path = unquote(urlsplit(page.url).path.partition("/tree/")[2])
    sessions = urljoin(page.url, "/api/sessions")

    def connected() -> bool:
        kernels = [session["kernel"] for session in page.request.get(sessions).json() if session["path"] == path]
        return any(kernel["connections"] and kernel["execution_state"] == "idle" for kernel in kernels)

    wait_until(lambda: connected() or page.wait_for_timeout(100), PATIENCE_MS / 1000)
    tab(page).locator('.jp-Notebook-ExecutionIndicator[data-status="idle"]').first.wait_for(state="attached")
    status = page.locator("#jp-main-statusbar").get_by_text("Python 3 (ipykernel) | Idle")
    status.filter(visible=True).first.wait_for()


def run_all(page: Page) -> None:
    """Run all cells, once the notebook has a kernel."""
    await_kernel(page)
    choose(page, "Run", "Run All Cells")


def open_file(page: Page, path: str, heading: str) -> None:
    """Open a file, and wait until its first cell is there."""
    choose(page, "File", "Open from Path")
    field = page.get_by_role("dialog").get_by_role("textbox")
    field.fill(path)
    field.press("Enter")
    tab(page).get_by_role("heading", name=heading).filter(visible=True).wait_for()


def await_request(world: World, count: int = 1, ended: Sequence[Path] = ()) -> Path:
    """Wait until a run that has not ended requests its decision number `count`; return its folder."""

    def requests() -> Path | None:
        folder = find_running(world.runs)
        if folder is None or folder in ended or not (folder / "journal.jsonl").exists():
            return None
        events = [event["event"] for event in read_journal(folder / "journal.jsonl")]
        return folder if events.count(JournalEvent.ASKED) >= count else None

    found: Path = wait_until(requests, PATIENCE_MS / 1000)
    return found


def await_outcome(folder: Path) -> tuple[Outcome, str]:
    """Wait until a run has ended; return how and why."""
    wait_until(lambda: read_record(folder).outcome, PATIENCE_MS / 1000)
    record = read_record(folder)
    assert record.outcome is not None
    return record.outcome, record.reason
