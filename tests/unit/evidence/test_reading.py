"""Reading the archive: filters, one run's story, exports, and nothing that reading changes."""

import json
import sqlite3
from datetime import UTC, datetime, timedelta
from pathlib import Path

import nbformat
import pytest
from evidence_fixture import contents, make_archive, make_run, open_run
from notebook_fixture import RECORD, write_runbook
from pyarrow import parquet

from opslib.cli.main import main
from opslib.errors import RecordError
from opslib.evidence import finish
from opslib.evidence.archive import index, ledger
from opslib.evidence.archive.index import RunQuery, find_runs
from opslib.evidence.archive.run_folders import find_run, read_archive
from opslib.evidence.archive.run_row import COLUMNS
from opslib.evidence.present import report
from opslib.evidence.present.page import summary_html
from opslib.evidence.present.summary import planned_changes
from opslib.evidence.run import run_lock
from opslib.evidence.run.files import INDEX
from opslib.evidence.run.record import read_record
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runner.execute import execute


@pytest.fixture
def archive(tmp_path):
    """Four runs of two endpoints, one of them still open."""
    runs = tmp_path / "runs"
    make_run(runs, endpoint="fraud", runbook="canary", requester="oncall", ticket="CHG-7")
    make_run(runs, Outcome.HELD, "too few requests", endpoint="fraud", runbook="canary", requester="owner")
    make_run(runs, endpoint="claims", runbook="scale", deployments_after={"x": {"model": "azureml:other:9"}})
    folder, _ = open_run(runs, endpoint="fraud", runbook="deploy")
    yield runs
    run_lock.release(folder)


LATER, EARLIER = datetime.now(UTC) + timedelta(days=1), datetime.now(UTC) - timedelta(days=1)

QUERIES = [
    (RunQuery(), 4),
    (RunQuery(endpoint="FRAUD"), 3),
    (RunQuery(runbook="canary"), 2),
    (RunQuery(outcome="held"), 1),
    (RunQuery(outcome="unfinished"), 1),
    (RunQuery(who="oncall"), 4),  # oncall is also who Azure saw, of all
    (RunQuery(who="owner"), 1),
    (RunQuery(model="fraud-model:2"), 4),
    (RunQuery(model="other:9"), 1),
    (RunQuery(since=LATER), 0),
    (RunQuery(since=EARLIER, until=LATER), 4),
    (RunQuery(until=EARLIER), 0),
    (RunQuery(endpoint="fraud", outcome="succeeded"), 1),
]


@pytest.mark.parametrize(("query", "count"), QUERIES, ids=range(len(QUERIES)))
def test_runs_are_found_by_what_is_asked(archive, query, count):
    """Endpoint, runbook, outcome, time, person, model: each alone and together."""
    rows, total = find_runs(archive, query)
    assert len(rows) == total == count
    assert [row.started_at for row in rows] == sorted((row.started_at for row in rows), reverse=True)


def test_a_limit_says_how_many_there_are(archive):
    """The newest first, and the whole number."""
    rows, total = find_runs(archive, RunQuery(limit=1))
    assert (len(rows), total) == (1, 4)


def test_the_index_follows_the_ledger(archive):
    """Only what is new is read; a run that was under way is read again."""
    assert find_runs(archive)[1] == 4
    make_run(archive)
    (waiting,) = finish.unfinished_runs(archive)
    finish.end_run(archive / waiting[0].folder, read_record(archive / waiting[0].folder).ended(Outcome.FAILED, "x"))
    assert find_runs(archive)[1] == 5
    assert find_runs(archive, RunQuery(outcome="unfinished"))[1] == 0


@pytest.mark.parametrize("damage", ["garbage", "another version", "another ledger", "gone"])
def test_a_damaged_index_is_made_anew(archive, damage):
    """It is never evidence: whatever happened to it, the answer is the same."""
    expected = find_runs(archive)
    path = archive / INDEX
    match damage:
        case "garbage":
            path.write_bytes(b"garbage" * 1000)
        case "gone":
            index.rebuild(archive)
        case _:
            connection = sqlite3.connect(path)
            told = "PRAGMA user_version = 99" if damage == "another version" else "UPDATE place SET head = 'x'"
            connection.execute(told)
            connection.commit()
            connection.close()
            make_run(archive)
            expected = ([], 5)
    assert find_runs(archive)[1] == expected[1]
    assert damage == "another ledger" or not expected[0] or find_runs(archive) == expected


def test_the_index_of_a_longer_ledger_is_not_used(tmp_path):
    """The archive was replaced by one with fewer runs: it lists none that it does not have."""
    longer, shorter, none = (tmp_path / name for name in ("longer", "shorter", "none"))
    for archive in (longer, longer, shorter):
        make_run(archive)
    none.mkdir()
    assert find_runs(longer)[1] == 2
    for archive, count in ((shorter, 1), (none, 0)):
        (archive / INDEX).write_bytes((longer / INDEX).read_bytes())
        assert find_runs(archive)[1] == count


def test_a_damaged_sidecar_is_listed_all_the_same(archive):
    """A run whose record cannot be read hides neither itself nor others."""
    folder = next(archive.glob("2*/*-scale-*"))
    folder.chmod(0o755)
    (folder / "run.json").chmod(0o644)
    (folder / "run.json").write_text("{")
    rows, total = find_runs(archive)
    assert total == 4
    assert [r.reason for r in rows if r.run == folder.name] != [""]
    assert len(list(read_archive(archive))) == 3


def test_listing_and_showing_alter_nothing(archive, capsys):
    """The archive keeps its bytes; only the index, which is not evidence, is added."""
    before = contents(archive)
    run = next(archive.glob("2*/*-canary-*")).name
    for words in (
        ["runs"],
        ["runs", "show", run],
        ["runs", "show", run, "--html"],
        ["runs", "show", run, "--json"],
    ):
        assert main([*words, "--runs", str(archive)]) == 0
    after = {name: content for name, content in contents(archive).items() if not name.startswith(INDEX)}
    assert after == before
    page = Path(capsys.readouterr().out.split("{")[0].strip().splitlines()[-1])
    assert page.is_file()
    assert archive not in page.parents


def test_the_command_lists_what_is_asked(archive, capsys):
    """One line a run: outcome, folder, reason; as JSON too; an open one is running."""
    assert main(["runs", "--runs", str(archive), "--endpoint", "fraud", "--outcome", "held"]) == 0
    (line,) = capsys.readouterr().out.splitlines()
    assert line.startswith("held ")
    assert "too few requests" in line
    assert main(["runs", "--runs", str(archive), "--limit", "1"]) == 0
    printed = capsys.readouterr()
    assert printed.out.startswith("running")
    assert "1 of 4 runs listed" in printed.err
    assert main(["runs", "--runs", str(archive), "--json", "--since", "2020-01-01", "--model", "other"]) == 0
    assert [row["endpoint"] for row in json.loads(capsys.readouterr().out)] == ["claims"]


def test_a_refusal_is_listed_with_what_blocked_it(tmp_path, capsys):
    """The list has one line for a reason of several: the first blocker, not how many there are; cut at its end."""
    blocked = "nothing was changed: 1 of 18 checks blocks the run:\n  lease: another change is under way"
    make_run(tmp_path / "runs", Outcome.REFUSED, blocked)
    make_run(tmp_path / "runs", Outcome.HELD, "too few requests " * 9)
    assert main(["runs", "--runs", str(tmp_path / "runs")]) == 0
    held, refused = capsys.readouterr().out.splitlines()
    assert refused.endswith("  lease: another change is under way")
    assert held.endswith(" requests to...")


def test_a_plan_is_shown_with_what_it_changes(archive, capsys):
    """What a person would approve is in the summary; a run without a plan, or with an altered one, is shown too."""
    folder = find_run(archive, find_runs(archive, RunQuery(who="owner"))[0][0].run)
    plan = {"changes": [{"what": "traffic", "before": "blue=100", "after": "green=100"}]}
    (folder / "plan.json").write_text(json.dumps(plan))
    assert list(planned_changes(folder)) == ["traffic: blue=100 -> green=100"]
    assert main(["runs", "show", folder.name, "--runs", str(archive)]) == 0
    assert "plan\n  traffic: blue=100 -> green=100\n" in capsys.readouterr().out
    for altered in ("{", "[]", '{"changes": [1]}'):
        (folder / "plan.json").write_text(altered)
        assert list(planned_changes(folder)) == []


def test_a_runs_story_is_told_in_words(archive, capsys):
    """The summary shows requester, gates, decisions, outcome, files and whether the run is sealed."""
    run = find_runs(archive, RunQuery(who="owner"))[0][0].run
    assert main(["runs", "show", run[-6:], "--runs", str(archive)]) == 0
    told = capsys.readouterr().out
    for said in (
        "held",
        "too few requests",
        "owner",
        "gates",
        "state: Succeeded",
        "attestation.dsse.json",
        "sealed",
    ):
        assert said in told
    decided = (find_run(archive, run) / "decisions.jsonl").read_text().splitlines()
    assert [json.loads(line)["decision"] for line in decided] == ["clear", "promote"]


def test_a_run_is_named_by_what_only_it_has(archive):
    """A part of an id that matches several runs or none is an error."""
    with pytest.raises(RecordError, match="2 runs match it"):
        find_run(archive, "canary")
    with pytest.raises(RecordError, match="no run in"):
        find_run(archive, "nonsense")


def test_parquet_for_analysts(archive, tmp_path, capsys):
    """One table of typed columns, which any engine reads."""
    path = tmp_path / "runs.parquet"
    assert main(["runs", "export", str(path), "--runs", str(archive)]) == 0
    table = parquet.read_table(path)
    assert table.num_rows == 4
    assert table.column_names == list(COLUMNS)
    assert set(table["outcome"].to_pylist()) == {"", "succeeded", "held"}
    assert max(table["duration_s"].to_pylist(), key=lambda d: d or 0) > 0


def test_scrapbook_reads_the_archive(tmp_path, monkeypatch, capsys):
    """Glued values come back from a run's own folder, and from an export of many."""
    import scrapbook  # noqa: PLC0415 - takes a second, most tests need none

    monkeypatch.chdir(tmp_path)
    glue = "from opslib.import_shims import skip_iri_checks\nskip_iri_checks()\nimport scrapbook"
    write_runbook(tmp_path, f"{glue}\nscrapbook.glue('moved', 'green')", RECORD)
    folder, record = execute("rollback", {"endpoint": "fraud"}, tmp_path / "runs")
    assert record.outcome is Outcome.SUCCEEDED, record.reason
    other = make_run(tmp_path / "runs")
    assert scrapbook.read_notebooks(str(folder))["notebook"].scraps["moved"].data == "green"
    assert main(["runs", "export", "notebooks-of-runs"]) == 0
    book = scrapbook.read_notebooks("notebooks-of-runs")
    assert book[folder.name].scraps["moved"].data == "green"
    assert not book[other.name].scraps
    assert verify(tmp_path / "runs").state is VerifyState.SOUND


HOSTILE = (
    "<script>alert(1)</script><img src='https://evil.example/x.png'><img src='data:image/png;base64,AAAA'>"
    "<iframe src='//evil.example'></iframe><b onclick='x()' style='background:url(https://evil.example)'>bold</b>"
    "<table><caption>Answers</caption><tr><th scope='col'>a</th></tr></table>"
)


def test_a_report_needs_nothing_else_and_runs_nothing(tmp_path):
    """Whatever a model's answer holds: no script, nothing fetched; words, tables and pictures' captions stay."""
    folder = make_run(tmp_path / "runs")
    new = nbformat.v4
    picture = {"image/png": "AAAA", "text/plain": "p95 of both deployments"}
    shown = [new.new_output("display_data", {"text/html": HOSTILE}), new.new_output("display_data", picture)]
    cell = new.new_code_cell("1 < 2", outputs=[*shown, new.new_output("stream", text="a < b\x1b[31mred\x1b[0m")])
    notebook = new.new_notebook(cells=[cell, new.new_markdown_cell(f"# Title\n{HOSTILE}")])
    page = report.render(notebook, "<t>", summary_html(read_record(folder)))
    for bad in ("evil.example", "<script", "<iframe", "onclick", "\x1b"):
        assert bad not in page
    for good in (
        'alt="p95 of both deployments"',
        "<figcaption>",
        "<caption>Answers</caption>",
        'scope="row"',
        "bold",
    ):
        assert good in page
    assert '<html lang="en">' in page
    assert "a &lt; bred" in page


def test_a_notebook_that_cannot_be_shown_keeps_no_run_from_its_seal(tmp_path):
    """The report is a courtesy; the seal is not."""
    folder, record = open_run(tmp_path)
    (folder / "notebook.ipynb").write_text("{ no notebook")
    finish.end_run(folder, record.ended(Outcome.FAILED, "the notebook is broken"))
    assert "the notebook is broken" in (folder / "report.html").read_text()
    assert verify(tmp_path).state is VerifyState.SOUND


def test_verify_speaks_json_and_exit_codes(archive, capsys, tmp_path):
    """0 sound, 1 tampered, 2 incomplete, 3 unknown key, 4 could not be verified; one run by its id."""
    run = next(archive.glob("2*/*-scale-*"))
    assert main(["verify", "--runs", str(archive), "--json"]) == 2
    found = json.loads(capsys.readouterr().out)
    assert (found["state"], found["runs"], found["sealed"]) == ("incomplete", 4, 3)
    assert main(["verify", run.name, "--runs", str(archive)]) == 0
    assert main(["verify", str(run)]) == 0
    other = tmp_path / "other"
    make_archive(other, 1)
    assert main(["verify", str(tmp_path / "nothing")]) == 4
    (run / "run.json").chmod(0o644)
    (run / "run.json").write_text("{}")
    assert main(["verify", run.name, "--runs", str(archive)]) == 1
    assert f"tampered: {run.name} run.json" in capsys.readouterr().out


def test_a_lone_folder_is_verified_with_keys(archive, tmp_path, capsys):
    """A run that was copied out of its archive: its seal, with keys that were kept."""
    run = next(archive.glob("2*/*-scale-*"))
    alone = tmp_path / "mail" / "attachment" / run.name
    alone.mkdir(parents=True)
    for path in run.iterdir():
        (alone / path.name).write_bytes(path.read_bytes())
    assert main(["verify", str(alone)]) == 4
    (key,) = (archive / "KEYS").iterdir()
    assert main(["verify", str(alone), "--keys", str(key)]) == 0
    assert ledger.find_entries(alone, "x") == {}
