"""`opslib notify`: send a test message to the receivers of a policy."""

import argparse
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, get_args
from uuid import uuid4

if TYPE_CHECKING:
    from opslib.notify.notice import Notice, NoticeEvent
    from opslib.policy.policy import Notification, Policy

EPILOG = """\
exit codes:
  0  every receiver accepted the message, or the policy names none
  1  a receiver did not

example:
  opslib notify --policy fraud/policy.yml --event rolled_back
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    from opslib.notify.notice import NoticeEvent

    parser.description = (
        "Send a test message to each receiver of a policy's `notifications`, marked as a test,\n"
        "and show whether it was accepted. A run sends them by itself."
    )
    parser.epilog = EPILOG
    parser.add_argument(
        "--policy", type=Path, required=True, metavar="FILE", help="the endpoint's policy.yml (required)"
    )
    parser.add_argument(
        "--event",
        choices=get_args(NoticeEvent),
        default="rolled_back",
        help="event to send; only to the receivers that want it (default: rolled_back)",
    )
    parser.add_argument("--show", action="store_true", help="print what would be sent; send nothing")


def run(arguments: argparse.Namespace) -> int:
    """Send or show the message; print a line for each receiver."""
    from opslib.policy.reading import read_policy

    policy = read_policy(arguments.policy)
    notice = example(policy, arguments.event)
    receivers = [one for one in policy.notifications if one.wants(notice.event)]
    if not receivers:
        print(f"{arguments.policy} has no receiver of {notice.event}: add one to its notifications")
        return 0
    return _show(notice, receivers) if arguments.show else _send(notice, receivers)


def example(policy: "Policy", event: "NoticeEvent") -> "Notice":
    """Return a notice as a canary of the endpoint would send it, marked as a test."""
    from opslib.evidence.run.provenance import find_executor
    from opslib.notify.notice import Notice, ServedCount

    run_id = f"test-{uuid4().hex[:8]}"
    return Notice(
        event=event,
        id=f"{run_id}/{event}",
        at=datetime.now(UTC).isoformat(timespec="milliseconds"),
        source=f"onlineEndpoints/{policy.endpoint}",
        endpoint=policy.endpoint,
        runbook="canary",
        run_id=run_id,
        reason=f"This is a test by {find_executor()['user']}: no run took place, and nothing was changed.",
        counts=(ServedCount("blue", 0, 705), ServedCount("green", 5, 73)),
        commands=(f"opslib runs show {run_id}",),
    )


def _show(notice: "Notice", receivers: "Sequence[Notification]") -> int:
    from opslib.notify.forms import write_body

    for receiver in receivers:
        body = write_body(notice, receiver.form)
        print(f"{receiver.to} ({body.content_type})\n{body.content}")
    return 0


def _send(notice: "Notice", receivers: "Sequence[Notification]") -> int:
    from opslib.redaction.redact import redact
    from opslib.runbooks.notifier import deliver

    with ThreadPoolExecutor(len(receivers)) as pool:
        sent = list(pool.map(lambda receiver: deliver(notice, receiver), receivers))
    for one in sent:
        state = f"accepted, status {one.status}" if one.delivered else f"NOT DELIVERED: {one.problem}"
        tries = f" after {one.attempts} attempts" if one.attempts > 1 else ""
        print(redact(f"{one.to} ({one.form}): {state}{tries}"))
    return 0 if all(one.delivered for one in sent) else 1
