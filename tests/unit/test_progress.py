"""A run's progress: followed from its journal, shown in a notebook, in a terminal and in a log."""

import io
import json
import math
import sys
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from rich.console import Console

from opslib.evidence.run.journal import Journal, JournalEvent
from opslib.runbooks.cells import CellDisplay
from opslib.runbooks.progress import MESSAGES_KEPT, Counts, Progress, follow, while_shown
from opslib.show.lines import Lines
from opslib.show.live_terminal import LiveDisplay
from opslib.show.progress import ProgressView
from opslib.show.terminal import show_progress

BEGAN = datetime(2026, 1, 1, 8, tzinfo=UTC)


def event(name: JournalEvent, data: object = None, after_s: float = 0.0) -> dict[str, object]:
    at = (BEGAN + timedelta(seconds=after_s)).isoformat(timespec="milliseconds")
    return {"seq": 1, "at": at, "event": str(name), "data": data}


def step(**after: int) -> dict[str, object]:
    return {"endpoint": "fraud", "before": {"blue": 100}, "after": after, "bake_s": 20.0}


def look(reason: str, decision: str = "continue", log_evidence: float = -0.2, after_s: float = 0.0):
    failures = {"name": "failures", "canary_bad": 1, "canary_n": 10, "stable_bad": 0, "stable_n": 90}
    lines = [{"source": "request log", "metrics": [failures]}, {"source": "probes", "metrics": [failures]}]
    details = {"log_evidence": log_evidence, "log_threshold": math.log(20), "lines": lines}
    return event(
        JournalEvent.LOOK, {"verdict": {"decision": decision, "reason": reason}, "details": details}, after_s
    )


PLAN = {
    "before": {"traffic": {"blue": 100}},
    "steps": [step(blue=90, green=10), step(blue=50, green=50), step(green=100)],
}
STAGE = [
    event(JournalEvent.PLAN, PLAN),
    event(JournalEvent.APPLYING, step(blue=90, green=10)),
    event(JournalEvent.NEXT_STAGE),
    event(JournalEvent.PROGRESS, "baking blue=90 green=10 for 20 s"),
    look("Continue: evidence of harm 0.8", after_s=4),
    event(JournalEvent.PROGRESS, "Continue: evidence of harm 0.8", after_s=4),
    look("Continue: evidence of harm 2.7", log_evidence=1.0, after_s=8),
    event(JournalEvent.PROGRESS, "Continue: evidence of harm 2.7", after_s=8),
]


def followed(events) -> Progress:
    progress = Progress()
    for one in events:
        progress = follow(progress, one)
    return progress


def test_the_journal_alone_gives_stage_time_evidence_and_counts():
    """What a person watches is computed from events; own probes are not users' requests."""
    progress = followed(STAGE)
    assert (progress.stage, progress.stages, progress.traffic) == (1, 3, {"blue": 90, "green": 10})
    assert progress.watched_s(progress.at) == 8
    assert progress.log_e_value == 1.0
    assert progress.counts == {"blue": Counts(0, 180), "green": Counts(2, 20)}


def test_looks_that_only_continue_replace_each_other():
    """The decisions stay; of the looks between them the latest is shown."""
    progress = followed(STAGE)
    assert [message.text for message in progress.messages] == ["baking blue=90 green=10 for 20 s"]
    assert progress.look == "Continue: evidence of harm 2.7"
    ended = followed([*STAGE, look("Promote.", "promote", after_s=20), event(JournalEvent.PROGRESS, "Promote.")])
    assert [message.text for message in ended.messages][1:] == ["Promote."]
    assert ended.look == ""


def test_hours_of_messages_leave_a_small_display():
    """A notebook holds the latest messages and the number of the others; a terminal prints each one once."""
    progress, printed, size = followed(STAGE), 0, []
    for number in range(3 * MESSAGES_KEPT):
        before = progress
        progress = follow(progress, event(JournalEvent.PROGRESS, f"probe {number:04d} could not be sent"))
        printed += len(progress.reported_since(before))
        size.append(len(progress.messages))
    assert printed == 3 * MESSAGES_KEPT
    assert max(size) == MESSAGES_KEPT
    shown = ProgressView(progress, progress.at)
    assert f"{2 * MESSAGES_KEPT + 1} earlier messages are in the journal" in shown.text
    assert "probe 0599" in shown.text
    assert "probe 0399" not in shown.text
    assert len(shown.html) < 60_000


def test_a_smaller_step_is_a_stage_more():
    """The number of stages follows what the run decides."""
    smaller = event(
        JournalEvent.SMALLER_STEP, {"why": "", "steps": [step(green=30), step(green=50), step(green=100)]}
    )
    assert followed([*STAGE, smaller]).stages == 4


def test_other_runbooks_have_messages_alone():
    """A plan without stages, a step without a bake and a scale's look give no stage."""
    plan: dict[str, Any] = {
        "before": {"traffic": {"blue": 100}},
        "steps": [{"deployment": "blue", "before": 1, "after": 2}],
    }
    events = [
        event(JournalEvent.PLAN, plan),
        event(JournalEvent.APPLYING, plan["steps"][0]),
        event(JournalEvent.LOOK, {"observation": {}, "verdict": {}}),
        event(JournalEvent.PROGRESS, "blue has 2 instances"),
    ]
    assert str(followed(events)) == "08:00:00  blue has 2 instances"


def test_a_notebook_shows_bars_and_numbers_and_the_same_as_text():
    """Stage, time left, evidence against its limit and counts, in both forms."""
    shown = followed(STAGE)._repr_mimebundle_()
    for form in shown.values():
        for text in ("1 of 3: blue=90 green=10", "8 s of 20 s, 12 s left", "2.7, limit 20", "2 of 20 (10 %)"):
            assert text in form
    assert "width:40%" in shown["text/html"]
    assert "██████████░░" in shown["text/plain"]


def test_after_its_planned_bake_a_stage_says_so():
    """An undecided stage is watched on: the bar is full and no time is left to count down."""
    late = followed([*STAGE, look("Hold", "hold", after_s=30)])
    assert "30 s, 20 s planned: watched until decided" in str(late)


def test_a_log_gets_one_line_per_decision(capsys):
    """Looks that only continue are printed once a minute, so that a pipeline sees that the run lives."""
    lines = Lines(sys.stdout)
    for one in STAGE:
        lines.follow(one)
    assert capsys.readouterr().out == "  08:00:00  baking blue=90 green=10 for 20 s\n"
    lines.follow(look("Continue: evidence of harm 1.1", after_s=70))
    lines.follow(event(JournalEvent.PROGRESS, "Continue: evidence of harm 1.1", after_s=70))
    assert capsys.readouterr().out == "  08:01:10  Continue: evidence of harm 1.1\n"


def test_a_terminal_redraws_the_stage_below_the_decisions():
    """Decisions scroll; the stage, its bars and the latest look are drawn in place and gone at the end."""
    written = io.StringIO()
    console = Console(file=written, force_terminal=True, width=100)
    with LiveDisplay(console) as display:
        for one in STAGE:
            display.follow(one)
        with console.capture() as capture:
            console.print(display)
    drawn = capture.get()
    assert "1 of 3: blue=90 green=10" in drawn
    assert "2.7, limit 20" in drawn
    assert "Continue: evidence of harm 2.7" in drawn
    assert "baking blue=90 green=10 for 20 s" in written.getvalue()


def test_a_pipe_gets_lines(capsys):
    """Where stdout is no terminal nothing is redrawn."""
    with show_progress() as on_event:
        on_event(event(JournalEvent.PROGRESS, "one line"))
    assert capsys.readouterr().out == "  08:00:00  one line\n"


def test_a_script_prints_what_a_notebook_would_display(tmp_path, capsys):
    """Outside a kernel the journal's progress is printed as it is written."""
    Journal(tmp_path, CellDisplay().follow).write(JournalEvent.PROGRESS, "waiting for fraud")
    assert capsys.readouterr().out.endswith("  waiting for fraud\n")
    (line,) = (tmp_path / "journal.jsonl").read_text().splitlines()
    assert json.loads(line)["data"] == "waiting for fraud"


class Handle:
    def __init__(self, shown):
        self.shown = [shown]

    def update(self, progress):
        self.shown.append(progress)


class Shell:
    kernel = object()
    execution_count = 7


def test_a_cell_has_one_display_and_the_next_cell_another(monkeypatch):
    """Updates replace what is shown; a new cell starts with its own messages."""
    shell = Shell()
    handles: list[Handle] = []

    def display_value(value, **_):
        handles.append(Handle(value))
        return handles[-1]

    monkeypatch.setattr("opslib.runbooks.cells.find_shell", lambda: shell)
    monkeypatch.setattr("IPython.display.display", display_value)
    display = CellDisplay()
    for one in STAGE:
        display.follow(one)
    (first,) = handles
    assert first.shown[-1] == followed(STAGE)
    shell.execution_count = 8
    display.follow(event(JournalEvent.FINISHED, {}))
    assert len(handles) == 1
    display.follow(event(JournalEvent.PROGRESS, "in the next cell"))
    assert [message.text for message in handles[1].shown[0].messages] == ["in the next cell"]


def test_a_display_that_fails_ends_nothing(tmp_path, monkeypatch):
    """A canary's undo writes to the journal too: what cannot be displayed must not stop it."""
    monkeypatch.setattr("builtins.print", lambda *_, **__: 1 / 0)
    Journal(tmp_path, CellDisplay().follow).write(JournalEvent.PROGRESS, "traffic was given back")
    assert "given back" in (tmp_path / "journal.jsonl").read_text()


@pytest.mark.parametrize("ending", [JournalEvent.ROLLOUT, JournalEvent.UNDOING, JournalEvent.RAISED])
def test_a_stage_that_is_over_counts_no_time(ending):
    """The last state stays in the executed notebook: what was reached, not a bar that seems to run."""
    ended = followed([*STAGE, event(ending, {}, after_s=9)])
    assert ended.began_at is None
    assert "left" not in str(ended)


def test_progress_that_cannot_be_shown_ends_nothing():
    """It is shown no more; what is wrong with the program itself is not hidden."""
    taken: list[str] = []

    def show(text: str) -> None:
        taken.append(text)
        if text == "b":
            raise BrokenPipeError

    shown = while_shown(show)
    for text in "abc":
        shown(text)
    assert taken == ["a", "b"]
    with pytest.raises(TypeError):
        while_shown(len)(1)  # type: ignore[arg-type]
