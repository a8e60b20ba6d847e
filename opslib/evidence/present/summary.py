"""The summary of a run as text: `opslib runs show` prints it, and the report starts with it."""

import json
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.present.models import model_names
from opslib.evidence.run import decisions
from opslib.evidence.run.files import JOURNAL, PLAN, REPORT, SEAL
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.record import Approval, Record, read_record
from opslib.evidence.run.run_lock import is_held
from opslib.model.traffic import describe_traffic


def summarize(folder: Path) -> str:
    """Return the summary of a run: outcome, people, change, gates, timeline, undo commands and files."""
    record = read_record(folder)
    rows = [(name, value) for name, value in summary_rows(record, folder) if value]
    width = max(len(name) for name, _ in rows)
    lines = [f"{record.run_id}", "", *(f"{name:<{width}}  {value}" for name, value in rows)]
    changes = [f"  {change}" for change in planned_changes(folder)]
    lines += ["", "plan", *changes] if changes else []
    lines += ["", "gates", *(_gate(gate) for gate in record.gates)] if record.gates else []
    timeline = list(_timeline(folder))
    lines += ["", "timeline", *timeline] if timeline else []
    lines += ["", "files", *(f"  {path.name}" for path in sorted(folder.iterdir()))]
    return "\n".join([*lines, "", _seal_state(folder)])


def summary_rows(record: Record, folder: Path) -> Iterator[tuple[str, str]]:
    """Yield the rows of the summary: name and value, empty if unknown."""
    ended = record.finished_at
    yield "outcome", f"{record.outcome or 'none: the run has not ended'}"
    yield "reason", record.reason
    yield "failing cell", record.failing_cell
    yield "runbook", record.runbook
    yield "endpoint", record.endpoint
    yield "workspace", f"{record.scope.workspace_name} in {record.scope.resource_group}" if record.scope else ""
    yield "given reason", str(record.parameters.get("reason") or "")
    yield "ticket", f"{record.ticket}{' (EMERGENCY)' if record.emergency else ''}"
    yield "requested by", record.requester
    yield "approved by", "; ".join(approval_text(record, a) for a in record.approvals) or "no approval"
    yield "run by", ", ".join(f"{v} ({k})" for k, v in record.executor.items()) + f" on {record.host or '?'}"
    yield "principal", record.scope.principal if record.scope else ""
    yield "started", f"{record.started_at:%Y-%m-%d %H:%M:%S} UTC"
    yield "ended", f"{ended:%Y-%m-%d %H:%M:%S} UTC, after {record.duration_s:.1f} s" if ended else ""
    yield "traffic", f"{describe_traffic(record.traffic_before)} -> {describe_traffic(record.traffic_after)}"
    yield "models", "; ".join(f"{name} {model}" for name, model in model_names(folder, record).items())
    yield "parameters", ", ".join(f"{k}={v!r}" for k, v in record.parameters.items() if v not in ("", None))
    yield "results", ", ".join(f"{k}={v}" for k, v in record.results.items())
    yield "undo command", undo_commands(record)
    yield "previous run", str(record.rollback.get("previous_run") or "")
    yield "Azure correlation ids", ", ".join(record.correlation_ids)
    yield "notifications", "; ".join(_notification(one) for one in record.notifications)
    digest = record.notebook_sha256[:16] or "unknown"
    yield "notebook", f"SHA-256 {digest}, commit {record.commit[:12] or 'none'}{_dirt(record.dirty)}"
    yield "kernel", f"{record.kernel} {record.versions.get('python', '')}".strip()
    yield "masked", f"{record.redactions} secrets" if record.redactions else ""
    yield "QUARANTINED", "; ".join(record.quarantine)


def planned_changes(folder: Path) -> Iterator[str]:
    """Yield each change of a run's plan, before and after; nothing where it made no plan."""
    try:
        plan = json.loads((folder / PLAN).read_text(encoding="utf-8"))
        for change in plan["changes"]:
            yield f"{change['what']}: {change['before']} -> {change['after']}"
    except (OSError, ValueError, KeyError, TypeError):
        return  # no plan, or an altered one, which `opslib verify` reports


def copy_report(folder: Path) -> Path:
    """Copy a run's report to a temporary folder, where a browser may open it; return the path of the copy."""
    source = folder / REPORT
    if not source.is_file():
        raise RecordError(f"{folder.name} has no {REPORT}. {_seal_state(folder)}")
    target = Path(tempfile.mkdtemp(prefix="opslib-")) / f"{folder.name}.html"
    shutil.copyfile(source, target)
    return target


def _gate(gate: object) -> str:
    fields = dict(gate) if isinstance(gate, dict) else {}
    stage = f" at {describe_traffic(fields['stage'])}" if "stage" in fields else ""
    stage += f", mirror {describe_traffic(fields['mirror'])}" if "mirror" in fields else ""
    evidence = f": {fields['evidence']}" if fields.get("evidence") else ""
    return f"  {fields.get('result', ''):<12} {fields.get('gate', '')}{stage}{evidence}"


def _timeline(folder: Path) -> Iterator[str]:
    step: dict[str, Any] = {}
    for event in decisions.readable_events(folder / JOURNAL):
        data, at = event["data"], event["at"][11:19]
        match event["event"]:
            case JournalEvent.PROGRESS:
                yield f"  {at}  {data}"
            case JournalEvent.RAISED:
                yield f"  {at}  {data['message']}"
            case JournalEvent.APPLYING if isinstance(data.get("after"), dict):
                step = data
            case JournalEvent.APPLIED if step:
                moved = f"{describe_traffic(step['before'])} -> {describe_traffic(step['after'])}"
                if step.get("mirror") is not None:
                    moved += f", mirror {describe_traffic(step['mirror'])}"
                yield f"  {at}  traffic changed: {moved} (Azure correlation id {data['correlation_id']})"
                step = {}
            case JournalEvent.MEMBER_ENDED:
                run = f" ({data['run']})" if data["run"] else ""
                yield f"  {at}  {data['endpoint']} {data['outcome']}: {data['reason']}{run}"
            case JournalEvent.STOPPED:
                yield f"  {at}  stopped by {data['rule']}: {data['reason']}"
            case JournalEvent.UNDONE:
                yield f"  {at}  undo: {_correlation(data['correlation_id'])}"


def _correlation(correlation_id: str) -> str:
    return f"applied (Azure correlation id {correlation_id})" if correlation_id else "nothing to change"


def undo_commands(record: Record) -> str:
    """Return the commands that undo a run; none are needed if a canary or a rollback left the traffic unchanged."""
    same = record.traffic_before is not None and record.traffic_before == record.traffic_after
    if same and record.runbook in {"canary", "rollback"}:
        return "none needed: traffic is as it was before"
    return "; ".join(record.rollback.get("commands", ()))


def _seal_state(folder: Path) -> str:
    if (folder / SEAL).exists():
        return f"sealed; to verify it: opslib verify {folder.name}"
    return "not sealed: still running" if is_held(folder) else f"NOT SEALED; to seal it: opslib seal {folder.name}"


def approval_text(record: Record, approval: Approval) -> str:
    """Return an approval as a line: by whom, when, of which plan, signed by which key."""
    fits = "this plan" if approval.plan_sha256 == record.plan_sha256 else "ANOTHER PLAN"
    signed = f"signed by key {approval.keyid[:16]}" if approval.keyid else "not signed"
    return f"{approval.who} at {approval.at}, {fits}, {signed}"


def _notification(sent: Mapping[str, Any]) -> str:
    state = "delivered" if sent["delivered"] else f"NOT DELIVERED: {sent['problem']}"
    return f"{sent['event']} to {sent['to']} ({sent['form']}): {state}"


def _dirt(dirty: bool | None) -> str:
    return " with local changes" if dirty else ""
