"""What the report shows of a run before its notebook: outcome, people, change, decision, undo, evidence."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from opslib.evidence.present.models import ModelName, model_names
from opslib.evidence.present.summary import approval_text, undo_commands
from opslib.evidence.run.record import Record
from opslib.model import Outcome
from opslib.model.traffic import describe_traffic

TEMPLATES = Path(__file__).parent / "templates"

OUTCOMES = {
    Outcome.SUCCEEDED: "Succeeded",
    Outcome.PLANNED: "Planned only: nothing was changed",
    Outcome.ROLLED_BACK: "Rolled back: the traffic is as before",
    Outcome.HELD: "Held: not decided",
    Outcome.REFUSED: "Refused: nothing was changed",
    Outcome.WAITING: "Waiting for approval: nothing was changed",
    Outcome.FAILED: "Failed",
    Outcome.ABORTED: "Aborted",
}
"""Each outcome as a heading."""

_PASSED = {"ok", "proven", "none found"}


@dataclass(frozen=True)
class Plot:
    """A plot of the notebook: PNG in base64, and its description."""

    png: str
    caption: str


@dataclass(frozen=True)
class DeploymentRow:
    """A deployment before and after a run; empty where it did not exist."""

    name: str
    model: str
    traffic_before: str
    traffic_after: str
    instances_before: str
    instances_after: str

    @property
    def changed(self) -> bool:
        """Whether the run changed its traffic or size."""
        return (self.traffic_before, self.instances_before) != (self.traffic_after, self.instances_after)


@dataclass(frozen=True)
class GateRow:
    """A check, or a criterion of a stage, with what was measured and its limit."""

    name: str
    stage: str
    result: str
    evidence: str

    @property
    def passed(self) -> bool:
        """Whether it passed."""
        return self.result in _PASSED


def summary_html(record: Record, folder: Path | None = None, plots: tuple[Plot, ...] = ()) -> str:
    """Return the part of the report before the notebook.

    Parameters
    ----------
    folder
        The run's folder, for names of models that only the deployments' tags hold.
    plots
        The notebook's plots, shown beside the decision.
    """
    models = model_names(folder or Path(), record)
    gates = [_gate(gate) for gate in record.gates]
    return str(
        load_template("summary.html.j2").render(
            record=record,
            heading=OUTCOMES[record.outcome] if record.outcome else "No outcome: the run has not ended",
            mark=mark(record.outcome),
            who=dict(_people(record)),
            deployments=list(_deployments(record, models)),
            stages=[gate for gate in gates if gate.stage],
            checks=[gate for gate in gates if not gate.stage],
            plots=plots,
            approvals=[approval_text(record, one) for one in record.approvals],
            undo=undo_commands(record),
            parameters=list(_parameters(record)),
            evidence=dict(_evidence(record)),
            results=dict(_results(record)),
        )
    )


def _results(record: Record) -> Iterator[tuple[str, Any]]:
    """Yield what a run measured, a cost with its currency."""
    currency = record.results.get("cost_currency")
    for name, value in record.results.items():
        if name.startswith("cost_per_month") and currency and value is not None:
            yield name.replace("_", " "), f"{value:,.2f} {currency}"
        elif name != "cost_currency":
            yield name.replace("_", " "), value


@cache
def load_template(name: str) -> Any:
    """Return a template of the pages, which escapes what it shows."""
    from jinja2 import Environment, FileSystemLoader, StrictUndefined  # noqa: PLC0415 - only a report needs it

    environment = Environment(
        loader=FileSystemLoader(TEMPLATES),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    return environment.get_template(name)


def mark(outcome: Outcome | None) -> str:
    """Return how an outcome is marked: good, bad, or open where a person is needed."""
    if outcome is None or outcome is Outcome.WAITING:
        return "open"
    return "good" if outcome.good else "bad"


def _people(record: Record) -> Iterator[tuple[str, str]]:
    run_by = ", ".join(record.executor.values()) or "unknown"
    yield "Requested by", record.requester or "not stated"
    yield "Run by", f"{run_by} on {record.host}" if record.host else run_by
    if record.scope:
        yield "Identity in Azure", record.scope.principal
    yield "Reason given", str(record.parameters.get("reason") or "") or "none"
    if record.ticket or record.emergency:
        yield "Change request", f"{record.ticket or 'none'}{', EMERGENCY' if record.emergency else ''}"
    ended, spent = record.finished_at, record.duration_s or 0
    after = f", ended after {spent:.0f} s" if spent < 180 else f", ended after {spent / 60:.0f} min"
    yield "When", f"{record.started_at:%Y-%m-%d %H:%M} UTC{after if ended else ''}"
    if record.scope:
        yield "Where", f"endpoint {record.endpoint}, workspace {record.scope.workspace_name}"
    if record.failing_cell:
        yield "Failing cell", record.failing_cell


def _deployments(record: Record, models: Mapping[str, ModelName]) -> Iterator[DeploymentRow]:
    before, after = record.deployments_before or {}, record.deployments_after or {}
    for name, model in models.items():
        yield DeploymentRow(
            name,
            str(model),
            _weight(record.traffic_before, name, before),
            _weight(record.traffic_after, name, after),
            _size(before.get(name)),
            _size(after.get(name)),
        )


def _weight(traffic: Mapping[str, int] | None, name: str, known: Mapping[str, Any]) -> str:
    return "not there" if name not in known else f"{(traffic or {}).get(name, 0)} %"


def _size(deployment: Mapping[str, Any] | None) -> str:
    if deployment is None:
        return ""
    return f"{deployment.get('instance_count', '?')} x {deployment.get('instance_type', '?')}"


def _gate(gate: Mapping[str, Any]) -> GateRow:
    stage = describe_traffic(gate["stage"]) if gate.get("stage") else ""
    if gate.get("mirror"):
        stage += f", mirror {describe_traffic(gate['mirror'])}"
    return GateRow(str(gate.get("gate", "")), stage, str(gate.get("result", "")), str(gate.get("evidence", "")))


def _parameters(record: Record) -> Iterator[tuple[str, str, str]]:
    for name, value in record.parameters.items():
        if value not in ("", None):
            yield name, str(value), record.origins.get(name, "")


def _evidence(record: Record) -> Iterator[tuple[str, str]]:
    yield "Run", record.run_id
    yield "Plan", f"SHA-256 {record.plan_sha256}" if record.plan_sha256 else "none"
    dirt = ", with local changes" if record.dirty else ""
    yield "Runbook", f"{record.runbook}, commit {record.commit[:12] or 'none'}{dirt}"
    versions = ", ".join(f"{name} {value}" for name, value in record.versions.items())
    yield "Versions", versions or "unknown"
    if record.correlation_ids:
        yield "Azure correlation ids", ", ".join(record.correlation_ids)
    for sent in record.notifications:
        state = "delivered" if sent["delivered"] else f"NOT DELIVERED: {sent['problem']}"
        yield f"Notified of {sent['event']}", f"{sent['to']} ({sent['form']}): {state}"
    if record.rollback.get("previous_run"):
        yield "Previous run", str(record.rollback["previous_run"])
    if record.redactions:
        yield "Masked", f"{record.redactions} secrets"
    if record.quarantine:
        yield "QUARANTINED", "; ".join(record.quarantine)
    yield (
        "Seal",
        (
            f"this page is part of the sealed folder, line {record.seq} of the ledger. It is no proof by itself: "
            f"opslib verify {record.run_id} checks the signature, offline"
        ),
    )
