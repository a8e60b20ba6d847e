"""Notifies people and programs of a run's events, beside the run: it never delays, stops or fails it or its undo.

Each delivery is a thread of its own. What became of it is written to the journal by the run's own thread, with the
notice's id, so that whatever ends the run sends what is still due and nothing twice.
"""

import threading
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from queue import Empty, SimpleQueue
from time import monotonic

from opslib.azure.webhook import Delivery, post
from opslib.errors import OpsError, PolicyError
from opslib.evidence.archive.run_folders import find_run
from opslib.evidence.run.journal import Journal, JournalEvent, read_journal
from opslib.evidence.run.record import Record, read_record
from opslib.evidence.run.run_lock import archive_of
from opslib.notify.forms import write_body
from opslib.notify.notice import Notice
from opslib.policy.policy import Notification
from opslib.policy.reading import read_policy
from opslib.redaction.redact import redact
from opslib.runbooks.lease.tags import read_lease
from opslib.runbooks.notices import RunAbout, Seen, notice_of, notice_of_end
from opslib.runbooks.progress import Event

SETTLE_S = 30.0
"""Longest wait for deliveries at the end of a run [seconds]."""


@dataclass(frozen=True)
class Notified:
    """What became of one notice at one receiver; it is what the journal keeps."""

    id: str
    event: str
    to: str
    form: str
    delivered: bool
    status: int | None
    attempts: int
    problem: str


class Notifier:
    """Sends the notices of one run to the receivers of its policy."""

    def __init__(self, journal: Journal, receivers: Sequence[Notification], about: RunAbout) -> None:
        self._journal = journal
        self._receivers = receivers
        self._about = about
        self._seen = Seen()
        self._done: SimpleQueue[Notified] = SimpleQueue()
        self._under_way = 0
        self._started: set[tuple[str, ...]] = set()

    def follow(self, event: Event) -> None:
        """Send the notice that an event is due, in threads of their own. What fails here is left out."""
        if not self._receivers or event["event"] == JournalEvent.NOTIFIED:
            return
        with suppress(Exception):
            self._seen = self._seen.then(event)
            self._record_done()
            notice = notice_of(event, self._seen, self._about)
            if notice is not None:
                self._send(notice)

    def catch_up(self) -> None:
        """Send what is due by the journal and was not sent yet."""
        events = list(read_journal(self._journal.path)) if self._journal.path.exists() else []
        sent = [event["data"] for event in events if event["event"] == JournalEvent.NOTIFIED]
        self._started |= {(one["id"], one["to"], one["form"]) for one in sent}
        for event in events:
            self.follow(event)

    def end(self, record: Record) -> None:
        """Send the notice of a run that broke off."""
        with suppress(Exception):
            notice = notice_of_end(record, self._seen)
            if notice is not None:
                self._send(notice)

    def settle(self, timeout_s: float = SETTLE_S) -> None:
        """Wait for the deliveries that are under way, and journal what became of them."""
        until_s = monotonic() + timeout_s
        while self._under_way and monotonic() < until_s:
            self._record_done(until_s - monotonic())

    def _send(self, notice: Notice) -> None:
        for receiver in self._receivers:
            key = (notice.id, receiver.to, receiver.form)
            if receiver.wants(notice.event) and key not in self._started:
                self._started.add(key)
                thread = threading.Thread(target=self._deliver, args=(notice, receiver), daemon=True)
                thread.start()
                self._under_way += 1

    def _deliver(self, notice: Notice, receiver: Notification) -> None:
        self._done.put(deliver(notice, receiver))

    def _record_done(self, wait_s: float = 0.0) -> None:
        """Journal the deliveries that have ended; wait for one at most."""
        with suppress(Empty):
            while self._under_way:
                notified = self._done.get(timeout=wait_s) if wait_s > 0 else self._done.get_nowait()
                self._under_way -= 1
                wait_s = 0.0
                self._journal.try_write(JournalEvent.NOTIFIED, notified)
                if not notified.delivered:
                    text = f"could not notify {notified.to} of {notified.event}: {notified.problem}"
                    self._journal.try_write(JournalEvent.PROGRESS, text)


def deliver(notice: Notice, receiver: Notification, send: Callable[..., Delivery] = post) -> Notified:
    """Send one notice to one receiver; whatever goes wrong is a problem in the result."""
    try:
        body = write_body(notice, receiver.form)
        delivery = send(receiver.to, body.content_type, redact(body.content).encode())
    except Exception as error:  # noqa: BLE001 - a notice must never end a run
        delivery = Delivery(None, 0, f"{type(error).__name__}: {error}")
    return Notified(
        notice.id,
        notice.event,
        receiver.to,
        receiver.form,
        delivery.delivered,
        delivery.status,
        delivery.attempts,
        delivery.problem,
    )


def notify_end(folder: Path, record: Record, policies: Iterable[str | Path] = ()) -> None:
    """Send what a run that has ended still owes, before it is sealed; never raise.

    Parameters
    ----------
    folder, record
        The run's folder and its last record.
    policies
        Paths of policies, of which the endpoint's is used; by default the one that the run was given.
    """
    with suppress(OSError, OpsError, ValueError, KeyError, TypeError):
        receivers = _receivers(record, [*policies, str(record.parameters.get("policy") or "")])
        notifier = Notifier(Journal(folder), receivers, RunAbout.of(record))
        if receivers:
            notifier.catch_up()
            notifier.end(record)
            notifier.settle()


def notify_recovery(folder: Path, record: Record, policies: Iterable[str | Path] = ()) -> None:
    """Send the notice of a recovery, by the given policies or by that of the run whose lease was released."""
    lease = read_lease(record.parameters["lease"])
    with suppress(OpsError):
        if lease is not None:
            left = read_record(find_run(archive_of(folder), lease.change))
            policies = [*policies, str(left.parameters.get("policy") or "")]
    notify_end(folder, record, policies)


def _receivers(record: Record, policies: Iterable[str | Path]) -> Sequence[Notification]:
    """Return the receivers of the first policy that is the endpoint's; one that cannot be read is passed over."""
    for path in policies:
        with suppress(PolicyError):
            policy = read_policy(Path(path)) if path else None
            if policy is not None and policy.endpoint.lower() == record.endpoint.lower():
                return policy.notifications
    return ()
