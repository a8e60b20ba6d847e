"""A scenario: an endpoint's folder, the commands of its release, its clients, and what the release must hold."""

from collections.abc import Callable, Iterable, Mapping
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass, field
from datetime import datetime
from enum import StrEnum
from pathlib import Path
from typing import Any

from opslib.azure.connect import Workspace
from opslib.demo.scenarios.objective import Objective
from opslib.evidence.run.record import Record
from opslib.model import Outcome
from opslib.show.table import Table


class Size(StrEnum):
    """How much traffic a scenario sends. The small one shows that every part works; it proves little."""

    FULL = "full"
    SMALL = "small"


@dataclass(frozen=True)
class RunStep:
    """A run of a runbook, and how it must end; one that the release does not need shows what is refused."""

    name: str
    runbook: str
    given: Mapping[str, Any] = field(default_factory=dict)
    expected: Outcome = Outcome.SUCCEEDED
    needed: bool = True


@dataclass(frozen=True)
class ApproveStep:
    """A person's approval of the plan of an earlier step's run; later runs are offered it."""

    name: str
    of: str
    who: str


@dataclass(frozen=True)
class WaitStep:
    """A wait until a time after the end of an earlier step's run, and why."""

    name: str
    after: str
    minutes: float
    why: str


Step = RunStep | ApproveStep | WaitStep


@dataclass(frozen=True)
class StepResult:
    """How a run of a scenario ended, and its folder."""

    step: RunStep
    folder: Path
    record: Record


@dataclass(frozen=True)
class ClientRequest:
    """What one client's request got: a line of the clients' report.

    `latency_ms` counts from when the request was due, so that a delay of the load source is part of it.
    """

    request_id: str
    at: str
    status: int | None
    deployment: str | None
    latency_ms: float

    @property
    def failed(self) -> bool:
        """Whether it got anything but 200."""
        return self.status != 200


@dataclass(frozen=True)
class Evidence:
    """What a scenario left behind: its folder, its runs, and what its clients got.

    Attributes
    ----------
    size
        How much traffic was sent.
    endpoint, since
        The endpoint, and when its first client's request was sent [UTC].
    folder, archive
        The endpoint's folder, and the archive with its runs.
    workspace
        The workspace, which can still be read.
    runs
        Its runs by the name of their step, in order.
    requests
        All requests of its clients.
    commands
        Commands that a person typed for the release; those that only show a refusal are not counted [count].
    """

    size: Size
    endpoint: str
    since: datetime
    folder: Path
    archive: Path
    workspace: Workspace
    runs: Mapping[str, StepResult]
    requests: tuple[ClientRequest, ...]
    commands: int


@dataclass(frozen=True)
class Scenario:
    """One company's release, from its folder to what it must hold.

    Attributes
    ----------
    name, title
        Its name on the command line, and what it is about.
    endpoint
        The endpoint, whose deployment `blue` serves before the release.
    rps
        Client requests by size [requests per second].
    write
        Writes the endpoint's folder: definitions, policy, models, probes, and the clients' requests in
        ``live.jsonl``.
    prepare
        Creates what surrounds the endpoint in the workspace.
    steps
        The commands of the release, for a folder and a size.
    objectives
        What the release must hold, from what it left behind.
    tables
        Further tables, such as latency and errors by deployment.
    beside
        What runs beside the clients, for the folder and the clients' report.
    """

    name: str
    title: str
    endpoint: str
    rps: Mapping[Size, float]
    write: Callable[[Path], None]
    steps: Callable[[Path, Size], tuple[Step, ...]]
    objectives: Callable[[Evidence], Iterable[Objective]]
    tables: Callable[[Evidence], Iterable[Table]]
    prepare: Callable[[Workspace], None] = lambda _workspace: None
    beside: Callable[[Path, Path], AbstractContextManager[object]] = lambda _folder, _report: nullcontext()


@dataclass(frozen=True)
class ScenarioResult:
    """What a scenario showed.

    `problems` are what went otherwise than it should: an objective that is not met, a run with another outcome.
    After such a run the release stops, and no objective is measured.
    """

    scenario: Scenario
    size: Size
    runs: tuple[StepResult, ...]
    objectives: tuple[Objective, ...]
    tables: tuple[Table, ...]
    duration_s: float

    @property
    def problems(self) -> tuple[str, ...]:
        """Every run with another outcome than expected, and every objective that is not met."""
        runs = (
            f"{one.step.name}: expected {one.step.expected}, ended as {one.record.outcome}: {one.record.reason}"
            for one in self.runs
            if one.record.outcome is not one.step.expected
        )
        missed = (
            f"{one.name}: limit {one.limit}, measured {one.measured}" for one in self.objectives if one.met is False
        )
        return (*runs, *missed)
