"""A live view of a run that another process, or this kernel, executes, with buttons that answer a canary.

It only reads the run's journal: closing it ends nothing. The buttons do what `opslib answer` does.
"""

import contextvars
import threading
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from html import escape
from pathlib import Path
from typing import Any

import ipywidgets as widgets
from IPython.display import display

from opslib.displayed import Displayed, view
from opslib.errors import OpsError, RecordError
from opslib.evidence.archive.run_folders import find_archive, find_run
from opslib.evidence.run.files import LOCKS, MONTH_GLOB
from opslib.evidence.run.journal import JournalTail
from opslib.evidence.run.record import read_record
from opslib.evidence.run.run_lock import is_held
from opslib.runbooks.canary.operator_decision import Choice, give_answer
from opslib.runbooks.progress import Progress, follow
from opslib.show.progress import ProgressView

EVERY_S = 1.0
"""How often the journal is read [seconds]."""

MESSAGES = 12
"""Latest messages that are shown [count]; the journal has all."""

BUTTONS: tuple[tuple[str, Choice, str, str], ...] = (
    ("Promote", "promote", "success", "Continue with the next stage although undecided"),
    ("Roll back", "rollback", "danger", "Return all traffic to the stable deployment"),
    ("Hold: one more bake", "extend", "", "Leave the traffic as it is, and watch for as long again"),
)
"""Label, choice, style and tooltip of each button."""

_BUTTON = {"width": "auto"}


@dataclass(frozen=True)
class LiveState(Displayed):
    """A run at one moment: its id (empty where none runs), its progress, and its state in words."""

    run: str
    state: str
    progress: Progress
    at: datetime
    notice: str = ""
    ended: bool = False


class LiveView:
    """A run, followed until it ends; a cell that ends in it shows it and updates it in place.

    Attributes
    ----------
    folder
        The run's folder; None while no run is found.
    state
        What is shown.
    reason
        The field with the reason of an answer.
    buttons
        The buttons by choice.
    """

    def __init__(self, find: Callable[[], Path | None], waits: str) -> None:
        self.folder: Path | None = None
        self._find, self._waits = find, waits
        self._tail: JournalTail | None = None
        self._progress, self._notice = Progress(), ""
        self._lock, self._stopped = threading.RLock(), threading.Event()
        self._display: Any = None
        self.reason = widgets.Text(
            description="reason", placeholder="it becomes part of the evidence", layout=widgets.Layout(width="34em")
        )
        self.buttons = {
            choice: widgets.Button(description=label, button_style=style, tooltip=tooltip, layout=_BUTTON)
            for label, choice, style, tooltip in BUTTONS
        }
        for choice, button in self.buttons.items():
            button.on_click(lambda _, choice=choice: self.answer(choice))
        self.state = self._read()

    def _ipython_display_(self) -> None:
        """Show the buttons, and below them an ordinary output that is updated until the run ends."""
        make_display: Any = display
        box = widgets.HBox([self.reason, *self.buttons.values()])
        text = "buttons of the live view, for JupyterLab; elsewhere: opslib answer"
        make_display({**box._repr_mimebundle_(), "text/plain": text}, raw=True)
        self.refresh()
        self._display = make_display(self.state, display_id=True)
        if not self.state.ended:
            context = contextvars.copy_context()  # the kernel finds the cell of an output by it
            threading.Thread(target=context.run, args=(self._follow,), name="live view", daemon=True).start()

    def refresh(self) -> None:
        """Read what the run has written since, and update what is shown."""
        with self._lock:
            self.state = self._read()
            for button in self.buttons.values():
                button.disabled = self.state.ended
            if self._display is not None:
                self._display.update(self.state)

    def answer(self, choice: Choice) -> None:
        """Answer the run, as `opslib answer` does; a refusal is shown with its reason."""
        if self.folder is None:
            self._notice = "refused: no run is shown"
        else:
            try:
                given = give_answer(self.folder, choice, self.reason.value)
                self._notice = f"answered {given.choice}, by {given.who}; it takes effect at the next look"
            except OpsError as error:
                self._notice = f"refused: {error}"
        self.refresh()

    def stop(self) -> None:
        """End the updates; the run goes on."""
        self._stopped.set()

    def _follow(self) -> None:
        while not self.state.ended and not self._stopped.wait(EVERY_S):
            self.refresh()

    def _read(self) -> LiveState:
        now = datetime.now(UTC)
        if self.folder is None:
            self.folder = self._find()
            if self.folder is None:
                return LiveState("", self._waits, Progress(), now, self._notice)
        self._tail = self._tail or JournalTail(self.folder)
        held = is_held(self.folder)  # before the journal: what is written until the end is read
        for event in self._tail.read():
            self._progress = follow(self._progress, event)
        shown = replace(self._progress, messages=self._progress.messages[-MESSAGES:])
        state = _describe_run(self.folder, held=held)
        return LiveState(self.folder.name, state, shown, now, self._notice, ended=not held)


def live(run: str | Path = "") -> LiveView:
    """Show a run while it goes on: traffic, failures and latency with bounds, evidence and limit, time left.

    Parameters
    ----------
    run
        A run's id, a part of it, or its folder; by default the newest one that runs, for which the view waits.

    Raises
    ------
    RecordError
        If no run matches, or several do.
    """
    archive = find_archive()
    if run:
        folder = find_run(archive, str(run))
        return LiveView(lambda: folder, "")
    return LiveView(lambda: find_running(archive), f"no run is running in {archive}; the next one is shown here")


def find_running(archive: Path) -> Path | None:
    """Return the folder of the newest run that a process executes now; None where there is none.

    A run by hand whose cell has raised is left out, although its kernel still holds it.
    """
    names = (path.name for path in sorted((archive / LOCKS).glob("*"), key=lambda path: path.name, reverse=True))
    folders = (folder for name in names for folder in archive.glob(f"{MONTH_GLOB}/{name}"))
    return next((folder for folder in folders if is_held(folder) and _is_open(folder)), None)


def _is_open(folder: Path) -> bool:
    try:
        return read_record(folder).outcome is None
    except RecordError:
        return True  # its first record is being written


def _describe_run(folder: Path, *, held: bool) -> str:
    """Describe a run's state; of one that a kernel runs by hand, also after a cell has raised."""
    try:
        record = read_record(folder)
    except RecordError as error:
        return f"cannot be read: {error}"
    if held:
        return "running" if record.outcome is None else f"{record.outcome}: {record.reason} (not sealed yet)"
    if record.outcome is None:
        return f"its process died. `opslib recover` restores the traffic that it left, and seals {folder.name}"
    return f"{record.outcome}: {record.reason}"


@dataclass(frozen=True)
class LiveStateView:
    """Text and HTML of a run at one moment."""

    live: LiveState

    @property
    def text(self) -> str:
        """The state, the progress, and what became of an answer."""
        live = self.live
        head = f"{live.run}  {live.state}" if live.run else live.state
        lines = [head, ProgressView(live.progress, self._now()).text, live.notice]
        return "\n".join(line for line in lines if line)

    @property
    def html(self) -> str:
        """The same; a screen reader announces a changed state and a notice."""
        live = self.live
        head = f"<b>{escape(live.run)}</b> {escape(live.state)}" if live.run else escape(live.state)
        notice = f'<p role="status"><b>{escape(live.notice)}</b></p>' if live.notice else ""
        body = ProgressView(live.progress, self._now()).html if live.run else ""
        return f'<p role="status">{head}</p>{body}{notice}'

    def _now(self) -> datetime:
        """The time to count to: of a run that has ended, its last event."""
        return self.live.progress.at if self.live.ended else self.live.at


@view.register
def _live_state(live: LiveState) -> LiveStateView:
    return LiveStateView(live)
