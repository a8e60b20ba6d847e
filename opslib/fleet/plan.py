"""The plan of a wave: its endpoints in order, in batches, each with its parameters. Pure.

The same wave file on the same endpoints has the same plan, and so the same digest, which people approve.
"""

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from fnmatch import fnmatch
from functools import cached_property
from typing import Any

from opslib.displayed import Displayed
from opslib.errors import ParameterError, PlanError
from opslib.fleet.wave import Wave, count_of
from opslib.inventory.rows import InventoryRow
from opslib.parameters import RUNBOOKS

RUNBOOK = "wave"
"""Name of a wave's record in archives, where a run has its runbook."""

WAVE_FILE = "wave.yml"
"""Copy of the wave file in the record's folder."""


@dataclass(frozen=True)
class Member:
    """An endpoint of a wave.

    Attributes
    ----------
    number
        Its place in the order, from 1 on.
    batch
        Its batch, from 1 on.
    workspace
        Subscription, resource group and workspace.
    parameters
        The parameters of its run.
    """

    number: int
    batch: int
    endpoint: str
    workspace: tuple[str, str, str]
    region: str
    owner: str
    parameters: Mapping[str, Any]


@dataclass(frozen=True)
class WavePlan(Displayed):
    """A wave and its endpoints in order."""

    wave: Wave
    wave_sha256: str
    members: tuple[Member, ...]

    @cached_property
    def batches(self) -> tuple[tuple[Member, ...], ...]:
        """The members of each batch."""
        found: dict[int, list[Member]] = {}
        for member in self.members:
            found.setdefault(member.batch, []).append(member)
        return tuple(tuple(members) for members in found.values())

    @cached_property
    def max_concurrency(self) -> int:
        """Most runs at once [count]."""
        return count_of(self.wave.max_concurrency, len(self.members), least=1)

    @cached_property
    def max_failures(self) -> int:
        """Most runs that may fail [count]."""
        return count_of(self.wave.max_failures, len(self.members))

    def groups(self, batch: Sequence[Member]) -> list[list[Member]]:
        """Split a batch into groups that may each run at once, for an engine that starts a group as a whole."""
        groups: list[tuple[Room, list[Member]]] = []
        for member in batch:
            group = next((found for room, found in groups if room.take(member)), None)
            if group is None:
                groups.append((Room(self, (member,)), [member]))
            else:
                group.append(member)
        return [found for _, found in groups]

    def members_before(self, batch: int, group: int) -> list[Member]:
        """Return the members of all groups before one."""
        earlier = [one for one in self.members if one.batch < batch]
        return earlier + [one for found in self.groups(self.batches[batch - 1])[: group - 1] for one in found]

    def content(self) -> str:
        """Return the content of ``plan.json``, whose SHA-256 an approval names."""
        wave = self.wave
        content = {
            "runbook": RUNBOOK,
            "endpoint": wave.name,
            "workspace": [wave.target],
            "files": {WAVE_FILE: self.wave_sha256},
            "parameters": {
                "runbook": wave.runbook,
                "endpoints": len(self.members),
                "batches": [len(batch) for batch in self.batches],
                "max_concurrency": self.max_concurrency,
                "max_failures": self.max_failures,
            },
            "changes": [
                {"what": f"batch {one.batch}, {one.endpoint}", "before": "as it is", "after": wave.runbook}
                for one in self.members
            ],
            "members": [asdict(one) for one in self.members],
        }
        return json.dumps(content, indent=2, sort_keys=True, ensure_ascii=False) + "\n"


class Room:
    """How many runs may still start beside those that go on, in all, per region and per owner."""

    def __init__(self, plan: WavePlan, running: Iterable[Member]) -> None:
        self._plan = plan
        self._total = 0
        self._regions: Counter[str] = Counter()
        self._owners: Counter[str] = Counter()
        for member in running:
            self._add(member)

    @property
    def full(self) -> bool:
        """Whether no run of any endpoint may start."""
        return self._total >= self._plan.max_concurrency

    def take(self, member: Member) -> bool:
        """Return whether a member's run may start; it then takes its place."""
        region, owner = self._plan.wave.max_per_region, self._plan.wave.max_per_owner
        if (
            self.full
            or (region is not None and self._regions[member.region] >= region)
            or (owner is not None and self._owners[member.owner] >= owner)
        ):
            return False
        self._add(member)
        return True

    def _add(self, member: Member) -> None:
        self._total += 1
        self._regions[member.region] += 1
        self._owners[member.owner] += 1


def make_plan(wave: Wave, content: bytes, rows: Sequence[InventoryRow]) -> WavePlan:
    """Plan a wave.

    Parameters
    ----------
    wave, content
        The wave file, and its bytes.
    rows
        A row of each endpoint that was selected, in the order of the inventory.

    Raises
    ------
    PlanError
        If no endpoint is selected.
    ParameterError
        Lists every endpoint whose parameters are invalid.
    """
    if not rows:
        raise PlanError(f"wave {wave.name} selects no endpoint. See what there is: opslib inventory")
    first = [pattern.lower() for pattern in wave.first]
    ordered = sorted(rows, key=lambda row: not any(fnmatch(row.endpoint.lower(), one) for one in first))
    sizes = _sizes(wave.batches, len(ordered))
    places = (number for number, size in enumerate(sizes, start=1) for _ in range(size))
    members = tuple(
        Member(
            number=number,
            batch=batch,
            endpoint=row.endpoint,
            workspace=(row.subscription, row.resource_group, row.workspace),
            region=row.region,
            owner=row.owner,
            parameters=wave.fill_in(vars(row)) | {"endpoint": row.endpoint},
        )
        for number, (batch, row) in enumerate(zip(places, ordered, strict=True), start=1)
    )
    _check(wave, members)
    return WavePlan(wave, hashlib.sha256(content).hexdigest(), members)


def read_plan(wave: Wave, content: bytes, plan: str) -> WavePlan:
    """Read a ``plan.json`` beside its wave file.

    Raises
    ------
    PlanError
        If it is not the plan of this wave file.
    """
    try:
        read = json.loads(plan)
        members = tuple(Member(**one | {"workspace": tuple(one["workspace"])}) for one in read["members"])
        found = WavePlan(wave, hashlib.sha256(content).hexdigest(), members)
    except (ValueError, TypeError, KeyError) as error:
        raise PlanError(f"not the plan of a wave: {error!r}") from error
    if read["files"] != {WAVE_FILE: found.wave_sha256}:
        raise PlanError(f"the plan is of another {WAVE_FILE} than the one beside it")
    return found


def _sizes(amounts: Sequence[str], total: int) -> Iterator[int]:
    """Yield the sizes of the batches; each is at least 1, and the last amount repeats."""
    left, place = total, 0
    while left:
        size = min(count_of(amounts[min(place, len(amounts) - 1)], total, least=1), left)
        yield size
        left, place = left - size, place + 1


def _check(wave: Wave, members: Sequence[Member]) -> None:
    problems: dict[str, list[str]] = {}
    for member in members:
        try:
            RUNBOOKS[wave.runbook].check(member.parameters)
        except ParameterError as error:
            problems.setdefault(str(error), []).append(member.endpoint)
    if problems:
        lines = (f"{text}\n  of {_named(names)}" for text, names in problems.items())
        raise ParameterError("\n".join(lines))


def _named(names: Sequence[str]) -> str:
    more = f" and {len(names) - 5} more" if len(names) > 5 else ""
    return f"{', '.join(names[:5])}{more}"
