"""`opslib runs`, `verify`, `approve`, `seal`, `publish`: words to functions; each loads what it needs."""

import argparse
import json
import os
import re
import sys
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from opslib.errors import OpsError, ParameterError
from opslib.evidence.run.files import NOTEBOOK, PLAN, RECORD

if TYPE_CHECKING:
    from opslib.evidence.archive.index import RunRow

VERIFY_EPILOG = """\
exit codes:
  0  sound                                 2  incomplete: begun and not ended, or not here
  1  tampered: changed, dropped, added     3  signed by an unknown key
     or moved since it was sealed          4  could not be verified at all
the worst finding decides: tampered, then unknown key, then incomplete
"""

NOT_VERIFIED = 4


def register(words: Any) -> None:
    """Add the words to the command line."""
    _add_runs(words)
    _add_verify(words)
    _add_approve(words)
    _add_seal(words)
    _add_publish(words)


def _add_runs(words: Any) -> None:
    word = words.add_parser("runs", help="list the runs, newest first; show one; export them")
    word.add_argument(
        "action", nargs="?", choices=["show", "export"], help="show RUN, or export FILE.parquet | FOLDER"
    )
    word.add_argument("name", nargs="?", help="a run's id (or a part of it), or where to export to")
    for name in ("endpoint", "runbook", "outcome", "who", "model"):
        word.add_argument(f"--{name}", default="", help=f"only those of this {name}")
    word.add_argument("--since", type=_time, help="started at or after this time (ISO 8601, UTC unless it says so)")
    word.add_argument("--until", type=_time, help="started at or before this time")
    word.add_argument("--limit", type=int, default=50, help="at most so many, 0 for all (default: 50)")
    word.add_argument("--html", action="store_true", help="show: print the path of a copy of the report")
    word.add_argument("--json", action="store_true", help="print JSON")
    _add_archive(word)
    word.set_defaults(run=_runs)


def _add_verify(words: Any) -> None:
    word = words.add_parser(
        "verify",
        help="prove that runs are unaltered and complete: offline, with public keys",
        epilog=VERIFY_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    word.add_argument("path", nargs="?", help="an archive, a run's folder, or a run's id (default: the archive)")
    word.add_argument("--keys", type=Path, help="public keys that are believed (PEM); else those of the archive")
    word.add_argument("--tsa", type=Path, help="certificates of the time stamp authority (PEM)")
    word.add_argument("--json", action="store_true", help="print JSON")
    _add_archive(word)
    word.set_defaults(run=_verify)


def _add_approve(words: Any) -> None:
    word = words.add_parser("approve", help="agree to the plan of a dry run: sign it with your own key")
    word.add_argument("name", help="a run's id, a part of it, its folder, or a plan.json")
    word.add_argument("--who", help="your name as it stands beside your key (default: the machine's user)")
    word.add_argument("--meaning", default="I agree to this change", help="what you mean by it")
    word.add_argument("--hours", type=float, default=24.0, help="how long it holds [hours] (default: 24)")
    word.add_argument("--to", type=Path, help="file to write (default: approval-<plan>-<who>.json here)")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_approve)


def _add_seal(words: Any) -> None:
    word = words.add_parser("seal", help="end and seal a run that was left open: by hand, or by a runner that died")
    word.add_argument("name", help="a run's id, a part of it, or its folder")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_seal)


def _add_publish(words: Any) -> None:
    word = words.add_parser("publish", help="copy sealed runs to blob storage, once and for ever")
    word.add_argument("names", nargs="*", metavar="RUN", help="runs (default: all that are sealed)")
    word.add_argument("--to", required=True, help="https://ACCOUNT.blob.core.windows.net/CONTAINER")
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.set_defaults(run=_publish)


def _add_archive(word: Any) -> None:
    word.add_argument("--runs", type=Path, help="folder of all runs (default: the nearest runs/ upwards)")
    word.add_argument("--from", dest="url", default="", help="read published runs: https://ACCOUNT.../CONTAINER")


def _runs(arguments: argparse.Namespace) -> int:
    with _archive(arguments, _needed(arguments)) as archive:
        if arguments.action == "show":
            return _show(archive, arguments)
        return _export(archive, arguments) if arguments.action == "export" else _list(archive, arguments)


def _list(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.index import find_runs  # noqa: PLC0415

    rows, total = find_runs(archive, _query(arguments, arguments.limit))
    if arguments.json:
        print(json.dumps([asdict(row) for row in rows], indent=2))
        return 0
    for row in rows:
        first = (row.reason.splitlines() or [""])[0]
        print(f"{_state(archive, row):<12} {_shown(archive / row.folder)}  {first[:90]}")
    if not rows:
        print(f"no run in {archive} is like that", file=sys.stderr)
    if total > len(rows):
        print(f"{total - len(rows)} more: --limit 0 lists all", file=sys.stderr)
    return 0


def _state(archive: Path, row: "RunRow") -> str:
    """A run's outcome; of one without, whether somebody still works on it."""
    from opslib.evidence.run.run_lock import is_held  # noqa: PLC0415

    if row.quarantined:
        return "quarantined"
    return row.outcome or ("under way" if is_held(archive / row.folder) else "incomplete")


def _show(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.evidence.present.summary import copy_report, summarize  # noqa: PLC0415

    folder = find_run(archive, _named(arguments))
    if arguments.html:
        print(copy_report(folder))
    elif arguments.json:
        print((folder / RECORD).read_text(encoding="utf-8"), end="")
    else:
        print(summarize(folder))
    return 0


def _export(archive: Path, arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.export import export_notebooks, export_parquet  # noqa: PLC0415
    from opslib.evidence.archive.index import find_runs  # noqa: PLC0415

    rows, target = find_runs(archive, _query(arguments, 0))[0], Path(_named(arguments))
    if target.suffix == ".parquet":
        export_parquet(rows, target)
        print(f"{len(rows)} runs: {target}")
    else:
        print(f"{export_notebooks(archive, rows, target)} notebooks: {target}")
    return 0


def _verify(arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.evidence.verify.verify import verify  # noqa: PLC0415

    try:
        with _archive(arguments) as archive:
            path = archive
            if arguments.path:
                given = Path(arguments.path)
                path = given if given.is_dir() else find_run(archive, arguments.path)
            found = verify(path, arguments.keys, arguments.tsa, missing_is_tampered=not arguments.url)
    except OpsError as error:
        print(f"opslib: {error}", file=sys.stderr)
        return NOT_VERIFIED
    if arguments.json:
        print(json.dumps(asdict(found), indent=2))
        return found.state.exit_code
    for finding in found.findings:
        print(finding)
    print(f"{found.state}: {found.runs} runs, {found.sealed} of them sealed; ledger head {found.head_sha256[:16]}")
    if not found.pinned:
        print(
            "the keys came with the archive: this proves nothing against somebody who can write to it. "
            "Verify with keys kept elsewhere: --keys FILE",
            file=sys.stderr,
        )
    return found.state.exit_code


def _approve(arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.evidence.run.provenance import find_executor  # noqa: PLC0415
    from opslib.evidence.run.record import Approval, write_atomically  # noqa: PLC0415
    from opslib.evidence.signing import approval  # noqa: PLC0415
    from opslib.evidence.signing.keys import find_signing_key  # noqa: PLC0415

    given = Path(arguments.name)
    with _archive(arguments) as archive:
        path = given if given.is_file() else find_run(archive, arguments.name) / PLAN
    plan, digest = approval.read_plan(path)
    who, now, key = arguments.who or find_executor()["user"], datetime.now(UTC), find_signing_key()
    until = now + timedelta(hours=arguments.hours)
    said = Approval(who, f"{now:%FT%TZ}", arguments.meaning, digest, expires=f"{until:%FT%TZ}")
    target = arguments.to or Path(f"approval-{digest[:12]}-{re.sub(r'[^A-Za-z0-9._@-]', '_', who)}.json")
    write_atomically(target, approval.sign(said, key), redacted=False)
    print("\n".join(approval.describe_plan(plan)))
    print(f"{who} agrees to the plan {digest[:16]} until {until:%F %T} UTC, signed by key {key.id[:16]}: {target}")
    return 0


def _seal(arguments: argparse.Namespace) -> int:
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.evidence.finish import end_unfinished  # noqa: PLC0415

    with _archive(arguments) as archive:
        sealed = end_unfinished(find_run(archive, arguments.name))
    print(f"{sealed.record.run_id}: sealed as {sealed.record.outcome}; {sealed.record.reason}")
    print(sealed.notice or f"seal {sealed.attestation_sha256}")
    return 0


def _publish(arguments: argparse.Namespace) -> int:
    from opslib.azure.blob_container import open_container  # noqa: PLC0415
    from opslib.evidence.archive.run_folders import find_run  # noqa: PLC0415
    from opslib.evidence.publish import publish  # noqa: PLC0415

    with _archive(arguments) as archive, open_container(arguments.to) as container:
        folders = [find_run(archive, name) for name in arguments.names]
        published = publish(archive, folders, container)
    print(f"{published.uploaded} files uploaded, {published.present} there already, all verified: {arguments.to}")
    for reason in published.left_out:
        print(f"not published: {reason}", file=sys.stderr)
    return 0


@contextmanager
def _archive(arguments: argparse.Namespace, wanted: Callable[[str], bool] = lambda _: True) -> Iterator[Path]:
    """The local archive, or a copy of a published one with the files of runs that are wanted."""
    from opslib.evidence.archive.run_folders import find_archive  # noqa: PLC0415

    if not getattr(arguments, "url", ""):
        yield arguments.runs or find_archive()
        return
    from opslib.azure.blob_container import open_container  # noqa: PLC0415
    from opslib.evidence.publish import mirror  # noqa: PLC0415

    with open_container(arguments.url) as container, mirror(container, wanted) as archive:
        yield archive


def _needed(arguments: argparse.Namespace) -> Callable[[str], bool]:
    """Which files of published runs a word needs: a list needs the records only."""
    if arguments.action == "show":
        return lambda name: str(arguments.name) in name
    return lambda name: (
        name.endswith(f"/{RECORD}") or (arguments.action == "export" and name.endswith(f"/{NOTEBOOK}"))
    )


def _query(arguments: argparse.Namespace, limit: int) -> Any:
    from opslib.evidence.archive.index import RunQuery  # noqa: PLC0415

    names: Sequence[str] = ("endpoint", "runbook", "outcome", "since", "until", "who", "model")
    return RunQuery(**{name: getattr(arguments, name) for name in names}, limit=limit)


def _named(arguments: argparse.Namespace) -> str:
    if not arguments.name:
        raise ParameterError(f"opslib runs {arguments.action} needs a name: a run, or where to export to")
    return str(arguments.name)


def _time(text: str) -> datetime:
    """Read an ISO time; one without a zone is UTC."""
    when = datetime.fromisoformat(text)
    return when if when.tzinfo else when.replace(tzinfo=UTC)


def _shown(path: Path) -> str:
    """A path as a person would type it from here."""
    return os.path.relpath(path)
