"""What the live state is compared with: a folder of definitions, an inventory, or the end of a run."""

import json
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import msgspec

from opslib.definitions.deployment import read_deployment
from opslib.definitions.endpoint import ENDPOINT
from opslib.definitions.source import read_source
from opslib.drift.autoscale import read_autoscale_settings
from opslib.drift.compare import Expected
from opslib.drift.definitions import deployment_expected, endpoint_expected
from opslib.drift.fields import read_settings
from opslib.errors import DefinitionError, RecordError, UnexpectedAnswer
from opslib.evidence.run.files import AFTER, BEFORE
from opslib.evidence.run.record import read_record
from opslib.model import EstateScope, ResourceName, Unread
from opslib.policy.folder import find_deployments


@dataclass(frozen=True)
class Base:
    """What is expected, and where to look for it.

    Attributes
    ----------
    name
        The folder, file or run.
    at
        When the expected state was recorded [UTC]; None for definitions.
    expected
        What each resource should be.
    scope
        Where the live resources are read; those found there and not expected count as drift.
    endpoints
        Names of the endpoints that are expected, in lower case; empty: every endpoint in the scope counts.
    unread
        Definitions that cannot be compared, and why.
    partly
        Names of the endpoints, in lower case, of which a deployment's definition cannot be compared: a live
        deployment may be that one, so that none of them is unexpected.
    autoscale
        Whether it has autoscale settings: those found live and not expected count as drift.
    """

    name: str
    at: datetime | None
    expected: tuple[Expected, ...]
    scope: EstateScope
    endpoints: frozenset[str] = frozenset()
    unread: tuple[Unread, ...] = ()
    partly: frozenset[str] = frozenset()
    autoscale: bool = False


def read_base(path: Path, workspace_id: str) -> Base:
    """Read what the live state is compared with.

    Parameters
    ----------
    path
        A folder with ``endpoint.yml`` in it or below it; an inventory's JSON; a run's folder, or ``after.json``.
    workspace_id
        ARM id of the workspace that definitions are for.

    Raises
    ------
    DefinitionError
        If nothing there can be compared with.
    """
    if path.is_dir():
        after = next((path / name for name in (AFTER, BEFORE) if (path / name).is_file()), None)
        return _from_state(after) if after else _from_folder(path, workspace_id)
    content = _read_json(path)
    if "resources" in content:
        return _from_inventory(path, content)
    if "endpoint" in content:
        return _from_state(path)
    raise DefinitionError(
        f"{path} is neither an inventory (`opslib inventory --output FILE.json`) nor a run's after.json"
    )


def _from_folder(folder: Path, workspace_id: str) -> Base:
    files = [folder / ENDPOINT] if (folder / ENDPOINT).is_file() else sorted(folder.rglob(ENDPOINT))
    if not files:
        raise DefinitionError(f"{folder} has no {ENDPOINT} in it or below it: there is nothing to compare with")
    expected: list[Expected] = []
    unread: list[Unread] = []
    partly: set[str] = set()
    for file in files:
        endpoint = _expected(file, partial(_read_endpoint, file, workspace_id))
        if isinstance(endpoint, Unread):
            unread.append(endpoint)
            continue
        expected.append(endpoint)
        for path in find_deployments(file.parent):
            one = _expected(path, partial(_read_deployment, path, endpoint.endpoint, workspace_id))
            if isinstance(one, Unread):
                unread.append(one)
                partly.add(endpoint.endpoint.lower())
            else:
                expected.append(one)
    if not expected:
        raise DefinitionError(f"no {ENDPOINT} in {folder} can be compared with: {unread[0].reason}")
    where = ResourceName.of(workspace_id)
    names = frozenset(ResourceName.of(one.id).endpoint.lower() for one in expected)
    scope = EstateScope(
        (where.subscription,), (where.group,), (where.workspace,), min(names) if len(names) == 1 else ""
    )
    return Base(str(folder), None, tuple(expected), scope, names, tuple(unread), frozenset(partly))


def _expected(path: Path, read: Callable[[], Expected]) -> Expected | Unread:
    """Return what a definition expects, or why it cannot be compared."""
    try:
        return read()
    except DefinitionError as error:
        return Unread(f"definition {path}", str(error))
    except (AttributeError, TypeError, ValueError) as error:  # a list where a mapping belongs, text for a number
        return Unread(f"definition {path}", f"a field has another form ({error}); `opslib check` names it")


def _read_endpoint(path: Path, workspace_id: str) -> Expected:
    return endpoint_expected(read_source(path), workspace_id)


def _read_deployment(path: Path, endpoint: str, workspace_id: str) -> Expected:
    return deployment_expected(read_deployment(path, endpoint, path.stem), workspace_id)


def _from_inventory(path: Path, content: Mapping[str, Any]) -> Base:
    try:
        expected = (*_of_resources(content["resources"]), *_of_autoscale(content))
        at = datetime.fromisoformat(content["at"]).astimezone(UTC)
        scope = msgspec.convert(content["scope"], EstateScope)
    except (KeyError, TypeError, ValueError, UnexpectedAnswer, msgspec.ValidationError) as error:
        raise DefinitionError(f"{path} is not an inventory of this version: {error!r}") from error
    return Base(str(path), at, expected, scope, autoscale="autoscale" in content)


def _from_state(path: Path) -> Base:
    """Read the state that a run recorded; its lease and the time of its end are the run's."""
    content = _read_json(path)
    try:
        expected = (*_of_resources([content]), *_of_autoscale(content))
    except (KeyError, TypeError, UnexpectedAnswer) as error:
        raise DefinitionError(f"{path} is not the state of an endpoint: {error!r}") from error
    name = ResourceName.of(expected[0].id)
    scope = EstateScope((name.subscription,), (name.group,), (name.workspace,), name.endpoint)
    names = frozenset({name.endpoint.lower()})
    return Base(str(path), _ended_at(path), expected, scope, names, autoscale="autoscale" in content)


def _of_resources(resources: list[Mapping[str, Any]]) -> Iterator[Expected]:
    for one in resources:
        for arm in (one["endpoint"], *one["deployments"]):
            yield Expected(str(arm["id"]), read_settings(arm))


def _of_autoscale(content: Mapping[str, Any]) -> Iterator[Expected]:
    """Yield the autoscale settings; records made before they were kept have none."""
    for arm in content.get("autoscale", ()):
        yield Expected(str(arm["id"]), read_autoscale_settings(arm))


def _ended_at(path: Path) -> datetime:
    """Return when a run ended; without its record, when the file was written."""
    try:
        record = read_record(path.parent)
    except RecordError:
        return datetime.fromtimestamp(path.stat().st_mtime, UTC)
    return record.finished_at or record.started_at


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise DefinitionError(
            f"{path} cannot be read as JSON: {error}. Expected what `opslib inventory --output NAME.json` "
            "writes, or a run's after.json"
        ) from error
    if not isinstance(content, dict):
        raise DefinitionError(f"{path} holds no object: expected an inventory or a run's after.json")
    return content


def only_endpoint(base: Base, endpoint: str) -> Base:
    """Return the part of a base that concerns one endpoint.

    Raises
    ------
    DefinitionError
        If the base has no such endpoint.
    """
    kept = tuple(one for one in base.expected if one.endpoint.lower() == endpoint.lower())
    if not kept:
        known = ", ".join(sorted({one.endpoint for one in base.expected})) or "none"
        raise DefinitionError(f"{base.name} has no endpoint {endpoint!r}; it has: {known}")
    scope = replace(base.scope, endpoint=endpoint)
    return replace(base, expected=kept, scope=scope, endpoints=frozenset({endpoint.lower()}))
