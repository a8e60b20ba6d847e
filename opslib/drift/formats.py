"""A comparison as JSON in the shape of terraform's plan, and as text. Pure.

Source of the shape: HashiCorp, "JSON Output Format", plan representation: `before` is what is there, `after` what
should be there, `actions` what leads from one to the other.
"""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from opslib.drift.compare import DriftReport, FieldChange, ResourceChange
from opslib.drift.fields import Settings
from opslib.drift.fix import fixes
from opslib.model import ActivityEvent
from opslib.model.text import counted

FORMAT_VERSION = "1.0"

_SIGNS = {("create",): "+", ("update",): "~", ("delete",): "-", ("delete", "create"): "-/+"}
"""How terraform marks a change."""

_MAPS = (
    *("tags", "properties.traffic", "properties.mirrorTraffic", "properties.environmentVariables"),
    *("properties.properties", "properties.profiles", "identity.userAssignedIdentities"),
)
"""Fields that hold names of a person's choice, which may have dots in them."""


def as_json(report: DriftReport) -> str:
    """Return the comparison as JSON."""
    content = {
        "format_version": FORMAT_VERSION,
        "base": report.base,
        "base_at": report.base_at.isoformat() if report.base_at else None,
        "timestamp": report.at.isoformat(timespec="seconds"),
        "complete": not report.unread,
        "drift": bool(report.drifted),
        "resource_changes": [_resource(change) for change in report.changes],
        "unread": [{"part": one.part, "reason": one.reason} for one in report.unread],
    }
    return json.dumps(content, indent=2, ensure_ascii=False)


def as_text(report: DriftReport, *, fix: bool = False) -> str:
    """Return the drifted resources with their fields, who changed them, and, with `fix`, the commands."""
    lines = [line for change in report.drifted for line in _lines(change, fix=fix)]
    lines += [f"could not be compared: {one.part}: {one.reason}" for one in report.unread]
    return "\n".join([*lines, summary(report)])


def summary(report: DriftReport) -> str:
    """Return one sentence."""
    count, base = len(report.changes), f"{report.base}{f' of {report.base_at:%F %T}' if report.base_at else ''}"
    parts = f"; {counted(len(report.unread), 'part')} could not be compared" if report.unread else ""
    if not report.drifted:
        return f"no drift: {counted(count, 'resource')} as in {base}{parts}"
    return f"drift: {len(report.drifted)} of {count} resources differ from {base}{parts}"


def _resource(change: ResourceChange) -> dict[str, Any]:
    return {
        "address": f"{change.kind}.{change.name}",
        "mode": "managed",
        "type": change.kind,
        "name": change.name,
        "id": change.id,
        "change": {
            "actions": list(change.actions),
            "before": _nested(change.before),
            "after": _nested(change.after),
        },
        "fields": [_field(field) for field in change.fields],
        "filled_in": [_field(field) for field in change.filled_in],
        "changed_by": [_event(event) for event in change.changed_by],
        "fix": list(fixes(change)),
    }


def _field(field: FieldChange) -> dict[str, Any]:
    return {"path": field.path, "before": field.before, "after": field.after}


def _event(event: ActivityEvent) -> dict[str, str]:
    return {
        "at": event.at.isoformat(timespec="seconds"),
        "caller": event.caller,
        "operation": event.operation,
        "correlation_id": event.correlation_id,
    }


def _nested(settings: Settings | None) -> dict[str, Any] | None:
    """Return settings in the structure of ARM's JSON."""
    if settings is None:
        return None
    result: dict[str, Any] = {}
    for path, setting in settings.items():
        place = result
        parts = _parts(path)
        for part in parts[:-1]:
            place = place.setdefault(part, {})
        place[parts[-1]] = setting.shown
    return result


def _parts(path: str) -> list[str]:
    for prefix in _MAPS:
        if path.startswith(f"{prefix}."):
            return [*prefix.split("."), path[len(prefix) + 1 :]]
    return path.split(".")


def _lines(change: ResourceChange, *, fix: bool) -> Iterator[str]:
    yield f"{_SIGNS[change.actions]} {change.kind}.{change.name} {describe_action(change)}"
    for field in change.fields:
        yield f"    {field.path}: {show_value(field.before)} -> {show_value(field.after)}"
    if change.changed_by:
        newest, more = change.changed_by[0], len(change.changed_by) - 1
        earlier = f", and {more} earlier changes" if more else ""
        verb = newest.operation.split("/", maxsplit=1)[-1]
        yield f"    changed by {newest.caller} at {newest.at:%F %T} UTC ({verb}){earlier}"
    else:
        yield "    changed by: not in the activity log, which is some minutes late and has 90 days"
    if fix:
        yield from (f"    fix: {command}" for command in fixes(change))


def describe_action(change: ResourceChange) -> str:
    """Return in words how a resource differs."""
    words: Mapping[tuple[str, ...], str] = {
        ("create",): "is absent",
        ("delete",): "is not expected",
        ("delete", "create"): "differs in a field that cannot be changed in place",
    }
    return words.get(change.actions, "differs")


def show_value(value: object) -> str:
    """Return a field's value as JSON, or that it is absent."""
    return "(absent)" if value is None else json.dumps(value, ensure_ascii=False)
