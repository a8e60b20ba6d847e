"""Which events of a run become notices. Pure: it reads the journal's events in order."""

from collections.abc import Mapping
from dataclasses import dataclass, field

from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Record
from opslib.model import Outcome
from opslib.notify.notice import Notice, NoticeEvent, ServedCount
from opslib.runbooks.progress import Event, Progress, follow
from opslib.runbooks.undo import reap

_OF_OUTCOME: Mapping[str, NoticeEvent] = {
    Outcome.ROLLED_BACK: "rolled_back",
    Outcome.HELD: "held",
    Outcome.FAILED: "failed",
    Outcome.ABORTED: "failed",
}

_OF_RECOVERY: Mapping[str, NoticeEvent] = {Outcome.SUCCEEDED: "lease_recovered", Outcome.HELD: "held"}


@dataclass(frozen=True)
class RunAbout:
    """The run that notices are about."""

    run_id: str
    runbook: str
    endpoint: str
    source: str
    dry_run: bool

    @classmethod
    def of(cls, record: Record) -> "RunAbout":
        """Return what a record has of it."""
        workspace = record.scope.workspace_id if record.scope else ""
        source = f"{workspace}/onlineEndpoints/{record.endpoint}"
        dry_run = bool(record.parameters.get("dry_run"))
        return cls(record.run_id, record.runbook, record.endpoint, source, dry_run)


@dataclass(frozen=True)
class Seen:
    """What the events so far have shown: the progress, and the latest event of each kind."""

    progress: Progress = field(default_factory=Progress)
    latest: Mapping[str, Event] = field(default_factory=dict)

    def then(self, event: Event) -> "Seen":
        """Return what is known after one more event."""
        return Seen(follow(self.progress, event), {**self.latest, event["event"]: event})


def notice_of(event: Event, seen: Seen, about: RunAbout) -> Notice | None:
    """Return the notice that an event is due, None for most; `seen` holds the event already."""
    found = _event_of(event, seen, about)
    if found is None or (about.dry_run and found[0] != "approval_needed"):
        return None
    name, reason = found
    return _notice(name, event["at"], f"{about.run_id}/{event['seq']}", reason, seen, about)


def notice_of_end(record: Record, seen: Seen) -> Notice | None:
    """Return the notice of a run that broke off after its change had begun; None for any other.

    Its last events may be missing in the journal: it was killed, or it could not write them.
    """
    began = JournalEvent.APPLYING in seen.latest
    if record.outcome not in {Outcome.FAILED, Outcome.ABORTED} or not began:
        return None
    ended = record.finished_at.isoformat(timespec="milliseconds") if record.finished_at else ""
    name: NoticeEvent = "rolled_back" if JournalEvent.UNDONE in seen.latest else "failed"
    return _notice(name, ended, f"{record.run_id}/end", record.reason, seen, RunAbout.of(record))


def _event_of(event: Event, seen: Seen, about: RunAbout) -> tuple[NoticeEvent, str] | None:
    """Return what an event is a notice of, and the reason."""
    data = event["data"]
    found: tuple[NoticeEvent, str] | None = None
    match event["event"]:
        case JournalEvent.ASKED:
            found = "decision_requested", f"{data['why']}. Waits until {data['until']}.{_last_look(seen)}"
        case JournalEvent.ROLLOUT if data["outcome"] == Outcome.SUCCEEDED:
            found = "promoted", data["reason"]
        case JournalEvent.ROLLOUT | JournalEvent.SCALED if data["outcome"] in _OF_OUTCOME:
            found = _OF_OUTCOME[data["outcome"]], data["reason"]
        case JournalEvent.ROLLED_BACK:
            found = ("rolled_back" if data["outcome"] == Outcome.SUCCEEDED else "held"), data["reason"]
        case JournalEvent.UNDO_FAILED:
            found = "undo_failed", data["message"]
        case JournalEvent.FINISHED if about.runbook == reap.RUNBOOK:
            found = _OF_RECOVERY.get(data["outcome"], "undo_failed"), data["reason"]
        case JournalEvent.FINISHED | JournalEvent.RAISED if evidence := _open_approvals(seen, data["outcome"]):
            found = "approval_needed", evidence
    return found


def _last_look(seen: Seen) -> str:
    look = seen.latest.get(JournalEvent.LOOK)
    return f" {look['data']['verdict']['reason']}" if look else ""


def _open_approvals(seen: Seen, outcome: str) -> str:
    """Return the evidence where approvals alone are missing: of a plan, or of a run that was refused for them."""
    findings = seen.latest[JournalEvent.PREFLIGHT]["data"] if JournalEvent.PREFLIGHT in seen.latest else ()
    missing = [one["evidence"] for one in findings if one["check"] == "approvals" and one["level"] != "ok"]
    others = [one for one in findings if one["level"] == "blocker" and one["check"] != "approvals"]
    waits = outcome in {Outcome.PLANNED, Outcome.REFUSED, Outcome.WAITING}
    return str(missing[0]) if missing and not others and waits else ""


def _notice(name: NoticeEvent, at: str, identity: str, reason: str, seen: Seen, about: RunAbout) -> Notice:
    return Notice(
        event=name,
        id=f"{identity}/{name}",
        at=at,
        source=about.source,
        endpoint=about.endpoint,
        runbook="recovery" if about.runbook == reap.RUNBOOK else about.runbook,
        run_id=about.run_id,
        reason=reason,
        counts=tuple(
            ServedCount(deployment, count.failed, count.requests)
            for deployment, count in seen.progress.counts.items()
            if deployment
        ),
        commands=_commands(name, seen, about),
    )


def _commands(name: NoticeEvent, seen: Seen, about: RunAbout) -> tuple[str, ...]:
    """Return what a person can type."""
    show, stable = f"opslib runs show {about.run_id}", seen.progress.stable
    match name:
        case "decision_requested":
            return tuple(
                f'opslib answer {about.run_id} {choice} --reason "..."'
                for choice in ("promote", "rollback", "extend")
            )
        case "approval_needed":
            return (*_approval_commands(seen, about), show)
        case "undo_failed" if about.runbook not in {"deploy", "scale"}:
            return (f"opslib recover --endpoint {about.endpoint} --take-over", show)
        case "promoted" if stable:
            return (f"opslib run rollback -p endpoint={about.endpoint} -p to={stable}", show)
        case _:
            return (show,)


def _approval_commands(seen: Seen, about: RunAbout) -> tuple[str, ...]:
    """Return what approves the plan, and what carries it out."""
    if JournalEvent.WAITING in seen.latest:
        waiting = seen.latest[JournalEvent.WAITING]["data"]
        return (waiting["approve"], waiting["resume"])
    if about.dry_run:
        return (f"opslib approve {about.run_id}",)
    return (f"opslib run {about.runbook} ... -p dry_run=true", "opslib approve RUN")
