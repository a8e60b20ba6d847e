"""What would have to change so that what is becomes what should be, by resource and field. Pure."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from opslib.displayed import Displayed
from opslib.drift.autoscale import TARGET, Ranges
from opslib.drift.fields import DEFAULTS, Setting, Settings, by_asset_name, is_asset, may_be_masked
from opslib.model import SERVICE_VARIABLES, ActivityEvent, ResourceName, Unread

COUNT = "sku.capacity"

FIXED = frozenset({"location", "properties.authMode", "properties.instanceType"})
"""Fields that cannot be changed in place: the resource has to be replaced."""

ENDPOINT, DEPLOYMENT = "azureml_online_endpoint", "azureml_online_deployment"
AUTOSCALE = "azurerm_monitor_autoscale_setting"
"""terraform's own name."""

Action = str
"""terraform's word: "no-op", "create", "update", "delete"."""


@dataclass(frozen=True)
class Expected:
    """What one resource should be.

    Attributes
    ----------
    id
        ARM id.
    settings
        Its fields.
    open
        Prefixes of fields about which nothing is expected unless `settings` has them, such as traffic that a
        definition leaves out.
    by_name
        Whether assets are compared by name and version, since a definition does not have their ids.
    source
        The file that defines it; empty where there is none.
    """

    id: str
    settings: Settings
    open: tuple[str, ...] = ()
    by_name: bool = False
    source: str = ""

    @property
    def endpoint(self) -> str:
        """Name of its endpoint; of an autoscale setting the one that it scales."""
        target = self.settings.get(TARGET)
        return ResourceName.of(str(target.shown) if target else self.id).endpoint


@dataclass(frozen=True)
class FieldChange:
    """One field that differs: its value now, and the expected one."""

    path: str
    before: Any
    after: Any


@dataclass(frozen=True)
class ResourceChange:
    """What would have to change at one endpoint or deployment.

    Attributes
    ----------
    id
        ARM id.
    actions
        As in terraform's plan; a field that cannot be changed in place makes it ("delete", "create").
    fields
        Fields that differ in meaning.
    filled_in
        Fields that differ only by what Azure fills in, or writes in another way.
    before, after
        All writable fields as they are and as they should be; None where the resource is or should be absent.
    source
        The file that defines it.
    changed_by
        Changes of it in the activity log since the expected state was recorded, newest first.
    """

    id: str
    actions: tuple[Action, ...]
    fields: tuple[FieldChange, ...] = ()
    filled_in: tuple[FieldChange, ...] = ()
    before: Settings | None = None
    after: Settings | None = None
    source: str = ""
    changed_by: tuple[ActivityEvent, ...] = ()

    @property
    def kind(self) -> str:
        """Type of the resource, as in terraform's plan."""
        if "/autoscalesettings/" in self.id.lower():
            return AUTOSCALE
        return DEPLOYMENT if "/deployments/" in self.id.lower() else ENDPOINT

    @property
    def name(self) -> str:
        """Name of the endpoint, or of endpoint and deployment."""
        parts = self.id.split("/")
        return f"{parts[-3]}/{parts[-1]}" if self.kind == DEPLOYMENT else parts[-1]

    @property
    def drifted(self) -> bool:
        """Whether it is not what it should be."""
        return self.actions != ("no-op",)


@dataclass(frozen=True)
class DriftReport(Displayed):
    """The comparison of all resources.

    Attributes
    ----------
    base
        What was compared with: a folder, an inventory, a run.
    base_at
        When the expected state was recorded; None for definitions.
    at
        When the live state was read [UTC].
    changes
        Every resource, those without a difference included.
    unread
        What could not be read or compared, and why.
    """

    base: str
    base_at: datetime | None
    at: datetime
    changes: tuple[ResourceChange, ...]
    unread: tuple[Unread, ...] = ()

    @property
    def drifted(self) -> tuple[ResourceChange, ...]:
        """Resources that are not what they should be."""
        return tuple(change for change in self.changes if change.drifted)


def compare(
    expected: Iterable[Expected],
    live: Mapping[str, Settings],
    extra: Iterable[str] = (),
    ranges: Ranges | None = None,
) -> Iterator[ResourceChange]:
    """Compare expected with live resources.

    Parameters
    ----------
    expected
        What should be there.
    live
        Settings by ARM id.
    extra
        ARM ids of live resources that count as unexpected where nothing is expected of them.
    ranges
        Deployments that autoscale changes: a number of instances within its range is no drift.

    Yields
    ------
    ResourceChange
        For each resource, endpoints before their deployments.
    """
    found = {key.lower(): (key, settings) for key, settings in live.items()}
    wanted = {one.id.lower(): one for one in expected}
    unexpected = {one.lower() for one in extra} - wanted.keys()
    for key in sorted(wanted.keys() | unexpected):
        seen = found.get(key)
        one = wanted.get(key)
        if one is None:
            if seen is not None:
                yield ResourceChange(seen[0], ("delete",), before=seen[1])
        elif seen is None:
            yield ResourceChange(one.id, ("create",), after=one.settings, source=one.source)
        else:
            yield _compare_one(one, seen[1], (ranges or {}).get(key))


def attribute(
    changes: Iterable[ResourceChange], events: Sequence[ActivityEvent], since: datetime | None
) -> Iterator[ResourceChange]:
    """Add to each drifted resource who changed it since a time.

    A deployment that is absent may have been deleted with its endpoint.
    """
    by_id: dict[str, list[ActivityEvent]] = {}
    for event in events:
        if since is None or event.at >= since:
            by_id.setdefault(event.resource_id.lower(), []).append(event)
    for change in changes:
        if not change.drifted:
            yield change
            continue
        key = change.id.lower()
        found = list(by_id.get(key, ()))
        if not found and change.before is None and change.kind == DEPLOYMENT:
            found = by_id.get(key.rsplit("/", 2)[0], [])
        yield replace(change, changed_by=tuple(found))


def _compare_one(one: Expected, live: Settings, scaled: tuple[int, int] | None) -> ResourceChange:
    found = (path for path in live if not path.startswith(one.open or ("\0",)))
    differing = sorted(one.settings.keys() | set(found))
    changed: list[FieldChange] = []
    filled: list[FieldChange] = []
    for path in differing:
        now, should = live.get(path), one.settings.get(path)
        if one.by_name and is_asset(path) and now is not None:
            now = by_asset_name(now)
        field = FieldChange(path, now.shown if now else None, should.shown if should else None)
        if _same(path, now, should) or _explained(one, path, now, scaled):
            if field.before != field.after:
                filled.append(field)
        else:
            changed.append(field)
    fixed = any(field.path in FIXED for field in changed)
    actions = ("delete", "create") if fixed else ("update",) if changed else ("no-op",)
    return ResourceChange(one.id, actions, tuple(changed), tuple(filled), live, one.settings, one.source)


def _explained(one: Expected, path: str, now: Setting | None, scaled: tuple[int, int] | None) -> bool:
    """Return whether Azure changes a field by itself: a count within autoscale's range, a variable of its own.

    A variable that the service sets follows model and code; only a definition that names it expects a value.
    """
    if path == COUNT and scaled and now:
        return bool(scaled[0] <= now.compared <= scaled[1])
    return _is_own_variable(path) and not one.by_name


def _is_own_variable(path: str) -> bool:
    return path.removeprefix("properties.environmentVariables.") in SERVICE_VARIABLES


def _same(path: str, now: Setting | None, should: Setting | None) -> bool:
    """Return whether two values mean the same; a missing one stands for what the service fills in.

    A secret that a record has masked is any value: what it was is in no file.
    """
    if now is not None and should is not None:
        return bool(now.compared == should.compared) or may_be_masked(now.shown, should.shown)
    known = now or should
    if known is None:
        return True
    if _is_own_variable(path):
        return should is None
    return known.compared in DEFAULTS.get(path, ())
