"""`opslib recover`: return traffic that unwatched canaries still hold."""

import argparse
import json
from functools import partial
from pathlib import Path

from opslib.cli.archive_option import add_archive_option, archive_of
from opslib.cli.output import print_aside
from opslib.cli.target_option import add_target_option

EPILOG = """\
exit codes:
  0  every expired lease was released, or there was none
  1  traffic could not be restored, or an endpoint could not be read
  4  traffic was changed by others and was left as it is

example, as a scheduled job:
  opslib recover --target azure
"""


def describe(parser: argparse.ArgumentParser) -> None:
    """Add the command's options."""
    parser.description = (
        "Restore the traffic of every canary whose lease has expired, and seal the runs\n"
        "whose process died. Each recovery is a run of its own in the archive."
    )
    parser.epilog = EPILOG
    add_target_option(parser)
    parser.add_argument("--endpoint", default="", metavar="NAME", help="only this endpoint (default: all)")
    parser.add_argument(
        "--policy",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="policy.yml whose receivers are notified, one per endpoint (default: the policy of the run that died)",
    )
    parser.add_argument("--take-over", action="store_true", help="also end leases that have not expired")
    parser.add_argument("--json", action="store_true", help="print JSON")
    add_archive_option(parser)


def run(arguments: argparse.Namespace) -> int:
    """Release the leases; print what became of each."""
    from opslib.azure.connect import connect
    from opslib.runbooks.notifier import notify_recovery
    from opslib.runbooks.undo.reap import close_left_open, reap

    workspace, archive = connect(arguments.target), archive_of(arguments)
    notify = partial(notify_recovery, policies=arguments.policy)
    taken = arguments.take_over
    progress = print_aside if arguments.json else print
    leases, code = [], 0
    for one in reap(workspace, archive, progress, arguments.endpoint, take_over=taken, before_seal=notify):
        leases.append({"endpoint": one.endpoint, "outcome": one.outcome or "held", "reason": one.reason})
        code = max(code, one.outcome.exit_code if one.outcome is not None else 0)
        if not arguments.json:
            print("{endpoint}: {outcome}: {reason}".format(**leases[-1]))
    sealed = close_left_open(archive)
    if arguments.json:
        print(json.dumps({"leases": leases, "sealed": sealed}, indent=2))
        return code
    if not leases and not sealed:
        print(f"nothing to recover: no lease on {arguments.endpoint or 'any endpoint'}, no run whose process died")
    for run_id in sealed:
        print(f"{run_id}: aborted: its process died; sealed as it was left")
    return code
