"""The options of a change request, the same for one run and for a wave of them."""

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from opslib.evidence.run.record import ChangeRequest


def add_request_options(parser: argparse.ArgumentParser) -> None:
    """Add ``--ticket``, ``--requester``, ``--emergency`` and ``--approval``."""
    parser.add_argument(
        "--ticket", default="", metavar="ID", help="id of the change request, for the record (default: none)"
    )
    parser.add_argument(
        "--requester", default="", metavar="NAME", help="who requested the change, for the record (default: none)"
    )
    parser.add_argument(
        "--emergency",
        action="store_true",
        help="pass change windows, freezes, alerts that fire and a rollback's validation; it is recorded",
    )
    parser.add_argument(
        "--approval",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help="approval of this plan that `opslib approve` signed, or a folder of approvals, of which those of this "
        'plan count. An unsigned claim {"who", "at", "meaning", "plan_sha256"} is recorded as such. Repeat it for '
        "more",
    )


def request_of(arguments: argparse.Namespace) -> "ChangeRequest":
    """Read the ticket, the requester and the approvals of the change."""
    from opslib.evidence.run.record import ChangeRequest
    from opslib.evidence.signing.approval_files import read_approvals

    found = read_approvals(arguments.approval)
    return ChangeRequest(
        ticket=arguments.ticket,
        requester=arguments.requester,
        emergency=arguments.emergency,
        approvals=found.claims,
        signed=found.signed,
        offered=found.offered,
        revocations=found.revocations,
    )


def request_words(arguments: argparse.Namespace, *, of_runs: bool = True) -> tuple[str, ...]:
    """Return the options as words: for the runs of a wave, or for the wave itself on another machine.

    Approvals that are files are of the wave's plan; those of a folder are of the runs' plans too.
    """
    words = [f"--{name}={value}" for name in ("ticket", "requester") if (value := getattr(arguments, name))]
    words += ["--emergency"] if arguments.emergency else []
    folders = [path.resolve() for path in arguments.approval if path.is_dir()]
    return (*words, *(f"--approval={path}" for path in (folders if of_runs else arguments.approval)))
