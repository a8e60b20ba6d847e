"""`opslib ...`: words to functions, outcomes to exit codes.

exit codes of `opslib run`:
  0  succeeded, or planned (dry run)      3  rolled back
  1  failed                               4  held: not decided, or not verified
  2  refused: nothing was changed         5  aborted: killed, timed out or interrupted
"""

import argparse
import json
import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.errors import OpsError, ParameterError
from opslib.evidence.run.files import NOTEBOOK
from opslib.model import Outcome
from opslib.show.progress import print_event

if TYPE_CHECKING:
    from opslib.evidence.run.record import ChangeRequest


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command line; return its exit code."""
    arguments = _parser().parse_args(argv)
    try:
        return int(arguments.run(arguments))
    except BrokenPipeError:  # whoever read it has seen enough, as with `| head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 1
    except OpsError as error:
        from opslib.redaction.redact import redact  # noqa: PLC0415 - each word loads what it needs

        print(redact(f"opslib: {error}"), file=sys.stderr)
        return (Outcome.REFUSED if error.refused else Outcome.FAILED).exit_code


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="opslib", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    words = parser.add_subparsers(dest="word", required=True, metavar="word")
    _add_run(words)
    from opslib.cli import evidence, notebooks  # noqa: PLC0415 - each word loads what it needs

    notebooks.register(words)
    evidence.register(words)
    _add_recover(words)
    _add_judge(words)
    _add_answer(words)
    _add_demo(words)
    from opslib.sandbox.cli import commands as sandbox  # noqa: PLC0415 - only here is the sandbox imported

    sandbox.register(words)
    return parser


def _add_run(words: Any) -> None:
    word = words.add_parser("run", help="execute a runbook and leave one folder of evidence")
    word.add_argument("runbook", help="deploy, canary, scale or rollback")
    said = "a parameter of the runbook, as its first cell names it; may be given again"
    word.add_argument("-p", "--parameter", action="append", default=[], metavar="NAME=VALUE", help=said)
    word.add_argument("--timeout-s", type=float, help="longest time from start to end [seconds]")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.add_argument("--ticket", default="", help="the change's id, for the record")
    word.add_argument("--requester", default="", help="who asked for the change, for the record")
    word.add_argument("--emergency", action="store_true", help="the change was let past the usual gates")
    word.add_argument(
        "--approval",
        type=Path,
        action="append",
        default=[],
        metavar="FILE",
        help='who agreed to this plan: what `opslib approve` signed, or a claim {"who", "at", "meaning", '
        '"plan_sha256"}; may be given again',
    )
    word.set_defaults(run=_run)


def _add_recover(words: Any) -> None:
    word = words.add_parser("recover", help="give back the traffic of canaries that nobody watches any more")
    word.add_argument("--target", default="sandbox", help='"sandbox", "azure", or a config.json')
    word.add_argument("--endpoint", default="", help="only this endpoint")
    word.add_argument("--take-over", action="store_true", help="end leases too that have not expired")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_recover)


def _add_judge(words: Any) -> None:
    word = words.add_parser("judge", help="judge a recorded canary again: the same minutes, the same verdicts?")
    word.add_argument("name", metavar="RUN", help="its id, a part of it, or its folder")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_judge)


def _add_answer(words: Any) -> None:
    word = words.add_parser("answer", help="answer a canary that holds and asks (on_hold=ask)")
    word.add_argument("name", metavar="RUN", help="a run's id, a part of it, or its folder")
    word.add_argument(
        "choice",
        choices=["promote", "rollback", "extend"],
        help="promote: go on although undecided; rollback: give the traffic back; extend: watch for another bake",
    )
    word.add_argument("--reason", default="", help="why; it stands in the evidence")
    word.add_argument("--who", default="", help="who answers (default: the user of this machine)")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_answer)


def _add_demo(words: Any) -> None:
    word = words.add_parser(
        "demo", help="run a whole release on a sandbox of its own, under client traffic (2 to 4 minutes)"
    )
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.add_argument(
        "--practice",
        type=Path,
        metavar="FOLDER",
        help="only build the demo's production on the running sandbox, and write its files to this new folder",
    )
    word.set_defaults(run=_demo)


def _run(arguments: argparse.Namespace) -> int:
    from opslib.runner.execute import execute  # noqa: PLC0415 - each word loads what it needs

    given = _parameters(arguments.parameter)
    archive, request = _archive(arguments), _request(arguments)
    folder, record = execute(arguments.runbook, given, archive, arguments.timeout_s, print_event, request)
    print(f"{record.outcome}: {record.reason}\n{_shown(folder / NOTEBOOK)}")
    return Outcome.FAILED.exit_code if record.outcome is None else record.outcome.exit_code


def _recover(arguments: argparse.Namespace) -> int:
    from opslib.azure.connect import connect  # noqa: PLC0415
    from opslib.runbooks.undo.reap import close_left_open, reap  # noqa: PLC0415

    workspace = connect(arguments.target)
    reaped = list(reap(workspace, _archive(arguments), print, arguments.endpoint, take_over=arguments.take_over))
    for one in reaped:
        print(f"{one.endpoint}: {one.outcome or 'held'}: {one.reason}")
    for run in close_left_open(_archive(arguments)):
        print(f"{run}: aborted: its process died; sealed as it was left")
    outcomes = [one.outcome.exit_code for one in reaped if one.outcome is not None]
    return max(outcomes, default=0)


def _judge(arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.runbooks.canary.rejudge import judge_again  # noqa: PLC0415

    looks = list(judge_again(find_run(_archive(arguments), arguments.name)))
    for look in looks:
        print(f"{look.at[11:19]}  {'same' if look.same else 'DIFFERS, was ' + look.then}  {look.sentence}")
    different = sum(not look.same for look in looks)
    print(f"{len(looks)} looks judged again from the record alone: {different} differ")
    return 1 if different else 0


def _answer(arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.runbooks.canary.operator_decision import give_answer  # noqa: PLC0415

    folder = find_run(_archive(arguments), arguments.name)
    given = give_answer(folder, arguments.choice, arguments.reason, arguments.who)
    print(f"{folder.name}: {given.choice}, by {given.who}; it is heard at the next look, within seconds")
    return 0


def _demo(arguments: argparse.Namespace) -> int:
    from opslib.demo.practice import build_practice  # noqa: PLC0415
    from opslib.demo.release import run_demo  # noqa: PLC0415

    if not arguments.practice:
        return run_demo(_archive(arguments))
    build_practice(arguments.practice)
    print(f"Endpoint fraud serves blue (v1). Definitions, probes and requests: {arguments.practice}. Send traffic:")
    print(f"  opslib sandbox traffic fraud --rps 40 --seconds 3600 --body-file {arguments.practice / 'live.jsonl'}")
    return 0


def _request(arguments: argparse.Namespace) -> "ChangeRequest":
    """Read what the organisation knows of the change."""
    from opslib.evidence.run.record import Approval, ChangeRequest  # noqa: PLC0415

    approvals, signed = [], []
    for path in arguments.approval:
        try:
            content = json.loads(text := path.read_text(encoding="utf-8"))
            if "signatures" in content:
                signed.append(text)
            else:
                approvals.append(Approval(**content | {"expires": "", "keyid": ""}))
        except (OSError, ValueError, TypeError) as error:
            raise ParameterError(
                f'{path} is no approval: expected {{"who", "at", "meaning", "plan_sha256"}}, got {error}'
            ) from error
    return ChangeRequest(
        arguments.ticket, arguments.requester, arguments.emergency, tuple(approvals), tuple(signed)
    )


def _parameters(given: Sequence[str]) -> dict[str, str]:
    """Read NAME=VALUE pairs."""
    pairs = [pair.partition("=") for pair in given]
    wrong = [name for name, equals, _ in pairs if not equals or not name.isidentifier()]
    if wrong:
        raise ParameterError(f"-p takes NAME=VALUE, got {', '.join(map(repr, wrong))}")
    twice = {name for name, _, _ in pairs if sum(other == name for other, _, _ in pairs) > 1}
    if twice:
        raise ParameterError(f"-p gives {', '.join(sorted(twice))} more than once")
    return {name: value for name, _, value in pairs}


def _archive(arguments: argparse.Namespace) -> Path:
    from opslib.evidence.archive.run_folders import find_archive  # noqa: PLC0415

    return arguments.runs or find_archive()


def _shown(path: Path) -> str:
    """A path as a person would type it from here."""
    return os.path.relpath(path)


if __name__ == "__main__":
    sys.exit(main())
