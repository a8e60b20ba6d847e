"""The report and the index in a real browser: accessible in light and dark, from a file, without a network."""

import base64

import nbformat
import pytest
from axe_playwright_python.sync_playwright import Axe
from evidence_fixture import open_run
from playwright.sync_api import Browser

from opslib.cli.main import main
from opslib.evidence.finish import end_run
from opslib.model import Outcome

CONTRAST = ["color-contrast"]
"""The rule that a colour scheme decides."""

DOT = base64.b64encode(
    bytes.fromhex(
        "89504e470d0a1a0a0000000d49484452000000010000000108060000001f15c4890000000d4944415478da636460f85f0f0002870180eb47ba920000000049454e44ae426082"
    )
).decode()


@pytest.fixture
def pages(tmp_path):
    """The report of a run with a plot, a table and a failed cell, and the index of its archive."""
    runs = tmp_path / "runs"
    folder, record = open_run(runs, traffic_before={"blue": 100}, traffic_after={"blue": 100})
    new = nbformat.v4
    plot = new.new_output("display_data", {"image/png": DOT, "text/plain": "p95 of both deployments"})
    table = new.new_output(
        "display_data", {"text/html": "<table><tr><th scope='col'>a</th></tr><tr><td>1</td></tr></table>"}
    )
    failed = new.new_output("error", ename="E", evalue="no", traceback=["no"])
    cells = [new.new_markdown_cell("## Run"), new.new_code_cell("1 + 1", outputs=[plot, table, failed])]
    nbformat.write(new.new_notebook(cells=cells), folder / "notebook.ipynb")
    end_run(folder, record.ended(Outcome.ROLLED_BACK, "Rolled back: failures. 5 of 73 canary requests failed."))
    index = tmp_path / "index.html"
    assert main(["runs", "report", str(index), "--runs", str(runs)]) == 0
    return folder / "report.html", index


def test_the_pages_pass_axe_and_load_nothing(pages, browser: Browser):
    """No violation of axe's rules with everything unfolded; the index filters; one click leads to the report."""
    fetched, complaints = [], []
    for scheme in ("light", "dark"):
        page = browser.new_page(color_scheme=scheme)
        page.on("request", lambda request: fetched.append(request.url))
        page.on("console", lambda message: complaints.append(message.text))
        for path in pages:
            page.goto(path.as_uri())
            page.evaluate("document.querySelectorAll('details').forEach(one => one.open = true)")
            found = Axe().run(page, options={"runOnly": CONTRAST} if scheme == "dark" else {})
            assert not found.violations_count, found.generate_report()
    page.get_by_label("Contains").fill("nothing like it")
    assert page.locator("tbody tr:visible").count() == 0
    page.get_by_role("button", name="Show all").click()
    page.get_by_role("link", name="canary of fraud").click()
    assert page.get_by_role("heading", level=1).inner_text() == "✗ Rolled back: the traffic is as before"
    assert page.get_by_alt_text("p95 of both deployments").is_visible()
    assert not page.get_by_text("1 + 1").is_visible()
    page.context.close()
    assert {url.split(":")[0] for url in fetched} <= {"file", "data"}
    assert complaints == []
