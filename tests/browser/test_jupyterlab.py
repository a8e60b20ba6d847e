"""Runbooks in JupyterLab as `opslib lab` opens it, in a real browser: what a person sees, types and presses."""

import os

import nbformat
from awaiting import wait_until
from evidence_fixture import contents
from lab_page import (
    PATIENCE_MS,
    TALL,
    WATCHED,
    await_kernel,
    await_outcome,
    await_request,
    choose,
    open_file,
    parameters_of,
    read_notebook,
    run_all,
    shown,
    tab,
)
from playwright.sync_api import Page, expect
from runbook_world import World

from opslib.evidence.archive.run_folders import read_archive
from opslib.evidence.run.record import read_record
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.parameters import RUNBOOKS


def test_run_all_shows_the_plan_and_leaves_a_record(page: Page, lab_world: World):
    """Every cell runs in the browser; the tables are there to read, and the run is in the archive."""
    open_file(page, "notebooks/plan.ipynb", "Canary a deployment")
    run_all(page)
    shown(page, "dry run: no traffic was moved").wait_for()
    text = "\n".join(page.locator(".jp-OutputArea-output").filter(visible=True).all_inner_texts())
    assert "traffic blue=100 -> blue=90 green=10" in text
    assert "az ml online-endpoint update" in text
    assert "Traceback" not in text
    wait_until(lambda: [r for _, r in read_archive(lab_world.runs) if r.outcome is Outcome.PLANNED])


OPENED = RUNBOOKS if os.environ.get("OPSLIB_BROWSER") == "all" else ("deploy", "rollback", "inventory")
"""Runbooks that no other test opens. All twelve take a browser half a minute of processor time."""


def test_runbooks_open(page: Page, lab_world: World):
    """Each with its heading and a kernel, without a dialog; opening alone changes no cell."""
    folder = lab_world.folder / "notebooks"
    paths = [folder / f"{name}.ipynb" for name in OPENED]
    before = [read_notebook(path).cells for path in paths]
    page.set_viewport_size(TALL | {"height": 600})  # the first cells alone are rendered
    for path, cells in zip(paths, before, strict=True):
        title = cells[0].source.partition("\n")[0]
        open_file(page, f"notebooks/{path.name}", title.removeprefix("# "))
        await_kernel(page)
        expect(page.locator(".jp-Dialog")).to_have_count(0)
    assert [read_notebook(path).cells for path in paths] == before
    page.set_viewport_size(TALL)


def test_a_person_fills_in_the_form_and_answers_the_canary_in_the_live_view(page: Page, lab_world: World):
    """A value is refused as it is typed; the notebook that the form writes runs; each button does what it names."""
    open_file(page, "notebooks/explore.ipynb", "Look around")
    run_all(page)
    shown(page, "no run is running").wait_for()
    shown(page, "more settings:").click()
    tab(page).get_by_label("bake_s", exact=True).fill("soon")
    shown(page, "not valid").wait_for()
    expect(tab(page).get_by_role("button", name="Write the notebook")).to_be_disabled()
    for name, value in WATCHED.items():
        field = tab(page).get_by_label(name, exact=True)
        field.select_option("ask") if name == "on_hold" else field.fill(str(value))
    tab(page).get_by_role("button", name="Write the notebook").click()
    tab(page).get_by_role("link", name="canary-1.ipynb").click()
    tab(page).get_by_role("heading", name="Canary a deployment").filter(visible=True).wait_for()
    written = parameters_of(read_notebook(lab_world.folder / "notebooks/canary-1.ipynb")).source
    assert "\nbake_s = 1.0  # observation time of each stage [seconds]\n" in written
    run_all(page)
    folder = await_request(lab_world)
    page.locator(".lm-TabBar").get_by_role("tab", name="explore.ipynb").click()
    tab(page).get_by_role("button", name="Promote").click()
    shown(page, "refused: an answer needs a reason").wait_for()
    tab(page).get_by_label("reason", exact=True).last.fill("clients come soon")
    traffic = []
    for number, button in enumerate(("Hold: one more bake", "Promote", "Roll back"), start=1):
        await_request(lab_world, number)
        traffic.append(lab_world.read().traffic)
        tab(page).get_by_role("button", name=button).click()
        shown(page, f"answered {('extend', 'promote', 'rollback')[number - 1]}, by").wait_for()
    outcome, reason = await_outcome(folder)
    assert traffic == [{"blue": 80, "green": 20}, {"blue": 80, "green": 20}, {"green": 100}]
    assert outcome is Outcome.ROLLED_BACK
    assert "although undecided: clients come soon" in reason
    assert lab_world.read().traffic == {"blue": 100}


def test_an_interrupt_and_a_restarted_kernel_return_the_traffic(page: Page, lab_world: World):
    """Both in the middle of a canary, the second in the kernel of the first, whose record stays as it was."""
    open_file(page, "notebooks/watched.ipynb", "Canary a deployment")
    run_all(page)
    interrupted = await_request(lab_world)
    assert lab_world.read().traffic == {"blue": 80, "green": 20}
    choose(page, "Kernel", "Interrupt Kernel")
    aborted = Outcome.ABORTED, "KeyboardInterrupt: the kernel was interrupted"
    assert await_outcome(interrupted) == aborted
    assert lab_world.read().traffic == {"blue": 100}
    before = read_record(interrupted)
    run_all(page)
    restarted = await_request(lab_world, ended=[interrupted])
    assert lab_world.read().traffic == {"blue": 80, "green": 20}
    choose(page, "Kernel", "Restart Kernel…")
    page.locator(".jp-Dialog").get_by_role("button", name="Confirm Kernel Restart").click()
    outcome, _ = await_outcome(restarted)
    assert outcome is Outcome.ABORTED
    assert lab_world.read().traffic == {"blue": 100}
    assert read_record(interrupted).reason == before.reason
    terminal = lab_world.folder / "lab.txt"
    wait_until(lambda: f"{restarted.name}: aborted: " in terminal.read_text(), PATIENCE_MS / 1000)


def test_looking_at_an_archived_notebook_alters_nothing(page: Page, lab_world: World):
    """Opened and rendered, for longer than Lab takes to save a notebook that it did change: not a byte differs."""
    folder, _ = lab_world.run("canary", canary="green", dry_run=True)
    before = contents(folder)
    other = nbformat.read(folder / "notebook.ipynb", as_version=4)
    other.metadata.kernelspec.display_name = "A name under which no kernel is installed"
    nbformat.write(other, lab_world.folder / "other.ipynb")
    saved = []
    page.on("request", lambda asked: saved.append(asked.url) if asked.method == "PUT" else None)
    open_file(page, (folder / "notebook.ipynb").relative_to(lab_world.folder).as_posix(), "Canary a deployment")
    shown(page, "dry run: no traffic was moved").wait_for()
    open_file(page, "other.ipynb", "Canary a deployment")
    shown(page, "dry run: no traffic was moved").wait_for()
    wait_until(lambda: page.wait_for_timeout(200) or any("/api/contents/other" in url for url in saved))
    assert not any("/api/contents/runs" in url for url in saved)
    after = contents(folder)
    assert {name: after[name] for name in before} == before
    assert [found for found in verify(lab_world.runs).findings if found.run in {folder.name, ""}] == []
