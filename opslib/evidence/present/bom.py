"""A CycloneDX 1.6 ML-BOM of what a run left in production: models, environment, code, and what was measured.

Written as JSON, because the libraries of the format do not know its model cards yet.
Source: CycloneDX 1.6 (ECMA-424), https://cyclonedx.org/docs/1.6/json/
"""

import uuid
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path
from typing import Any

from opslib.errors import RecordError
from opslib.evidence.present.models import ModelName, model_names
from opslib.evidence.run.record import Record, read_record
from opslib.model import asset_name
from opslib.redaction.redact import redact

_NAMESPACE = uuid.UUID("6f1d3c52-0c55-5b0a-9a53-0f6f0b7a2c11")


def production_bom(folder: Path) -> dict[str, Any]:
    """Return the bill of materials of a run.

    Raises
    ------
    RecordError
        If the run left no traffic on any deployment, or has no record.
    """
    record = read_record(folder)
    serving = {name: weight for name, weight in (record.traffic_after or {}).items() if weight}
    if not serving:
        raise RecordError(f"{record.run_id} left no deployment with traffic: nothing is in production")
    models = model_names(folder, record)
    parts = [part for name in sorted(serving) for part in _parts(record, name, models[name], serving[name])]
    unique = {part["bom-ref"]: part for part in parts}
    return {
        "$schema": "http://cyclonedx.org/schema/bom-1.6.schema.json",
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "serialNumber": f"urn:uuid:{uuid.uuid5(_NAMESPACE, record.run_id)}",
        "version": 1,
        "metadata": {
            "timestamp": f"{record.finished_at or datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}",
            "tools": {"components": [{"type": "application", "name": "opslib", "version": version("opslib")}]},
            "component": _endpoint(record),
        },
        "components": list(unique.values()),
        "dependencies": [
            {"ref": _endpoint_ref(record), "dependsOn": [f"model:{name}" for name in sorted(serving)]},
            *(
                {"ref": f"model:{name}", "dependsOn": sorted(set(_needed(record, name)))}
                for name in sorted(serving)
            ),
        ],
    }


def _endpoint_ref(record: Record) -> str:
    return f"endpoint:{record.endpoint}"


def _endpoint(record: Record) -> dict[str, Any]:
    about = {"run": record.run_id, "outcome": str(record.outcome or "none"), "ticket": record.ticket}
    if record.scope:
        about |= {"workspace": record.scope.workspace_name, "resource_group": record.scope.resource_group}
    return {
        "type": "application",
        "bom-ref": _endpoint_ref(record),
        "name": record.endpoint,
        "description": "Azure Machine Learning managed online endpoint",
        "properties": _properties(about),
    }


def _parts(record: Record, name: str, model: ModelName, weight: int) -> Iterator[dict[str, Any]]:
    deployment = (record.deployments_after or {}).get(name, {})
    before = (record.traffic_before or {}).get(name, 0)
    about = {
        "deployment": name,
        "traffic_percent": str(weight),
        "traffic_percent_before": str(before),
        "instance_type": str(deployment.get("instance_type", "")),
        "instance_count": str(deployment.get("instance_count", "")),
        "azure_model_id": model.arm_id,
    }
    measured = list(_metrics(record, name))
    part: dict[str, Any] = {
        "type": "machine-learning-model",
        "bom-ref": f"model:{name}",
        "name": model.name or f"model of deployment {name}",
        "properties": _properties(about),
    }
    if model.version:
        part["version"] = model.version
    if measured:
        part["modelCard"] = {"quantitativeAnalysis": {"performanceMetrics": measured}}
    yield part
    for kind, key in (("platform", "environment"), ("application", "code")):
        if deployment.get(key):
            asset, _, number = asset_name(deployment[key]).partition(":")
            found: dict[str, Any] = {
                "type": kind,
                "bom-ref": f"{key}:{deployment[key]}",
                "name": asset,
                "properties": _properties({f"azure_{key}_id": deployment[key]}),
            }
            yield found | ({"version": number} if number else {})


def _needed(record: Record, name: str) -> Iterator[str]:
    deployment = (record.deployments_after or {}).get(name, {})
    yield from (f"{key}:{deployment[key]}" for key in ("environment", "code") if deployment.get(key))


def _metrics(record: Record, name: str) -> Iterator[dict[str, Any]]:
    """Yield what the run measured of the deployment that it released: each criterion of the last stage."""
    if record.results.get("canary", record.parameters.get("canary")) != name:
        return
    stages = [gate for gate in record.gates if gate.get("stage")]
    last = stages[-1]["stage"] if stages else None
    for gate in stages:
        if gate["stage"] == last and "canary_share" in gate:
            yield {
                "type": str(gate["gate"]),
                "value": f"{gate['canary_share']:.6g}",
                "slice": f"{gate['canary_n']} requests of live traffic",
            }


def _properties(values: Mapping[str, str]) -> list[dict[str, str]]:
    return [{"name": f"opslib:{name}", "value": redact(value)} for name, value in values.items() if value]
