"""Small waves that the unit tests start from, and runs of them that are sealed without being executed."""

from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import yaml

from opslib.evidence.archive.run_folders import new_folder
from opslib.evidence.finish import begin_run, end_run
from opslib.evidence.run.record import Record
from opslib.evidence.run.run_lock import archive_of
from opslib.fleet.archive import open_plan
from opslib.fleet.plan import WavePlan, make_plan
from opslib.fleet.wave import Wave
from opslib.inventory.rows import InventoryRow
from opslib.model import Outcome

DIED = "the runner died; traffic is as it was before"


def row(number: int, region: str = "eastus", owner: str = "claims") -> InventoryRow:
    return InventoryRow("s", "g", "w", f"fraud-{number}", "blue", region, "Succeeded", owner=owner)


def make_wave(rows: int | list[InventoryRow] = 6, **given: object) -> WavePlan:
    wave = Wave.model_validate(
        {"version": 1, "name": "december", "runbook": "rollback", "parameters": {"to": "blue"}, **given}
    )
    found = [row(number) for number in range(rows)] if isinstance(rows, int) else rows
    return make_plan(wave, b"", found)


def wave_of(text: str) -> Wave:
    return Wave.model_validate(yaml.safe_load(text))


def begin(root: Path, number: int) -> tuple[Path, Record]:
    """Begin a run of a wave's member; return its folder and record."""
    member = open_plan(root).members[number - 1]
    folder = new_folder(archive_of(root), "rollback", member.endpoint)
    began = Record(folder.name, "rollback", member.endpoint, {"target": "sandbox"}, datetime.now(UTC))
    return folder, begin_run(folder, replace(began, wave=root.name, wave_member=number))


def seal_run(root: Path, number: int, outcome: Outcome | str) -> None:
    """Leave a sealed run of a wave's member; `DIED`: another process has ended it."""
    folder, record = begin(root, number)
    died = outcome == DIED
    end_run(folder, record.ended(Outcome.ABORTED if died else Outcome(outcome), DIED if died else "as planned"))
