"""Small waves that the unit tests start from."""

from opslib.fleet.plan import WavePlan, make_plan
from opslib.fleet.wave import Wave
from opslib.inventory.rows import InventoryRow


def row(number: int, region: str = "eastus", owner: str = "claims") -> InventoryRow:
    return InventoryRow("s", "g", "w", f"fraud-{number}", "blue", region, "Succeeded", owner=owner)


def make_wave(rows: int | list[InventoryRow] = 6, **given: object) -> WavePlan:
    wave = Wave.model_validate(
        {"version": 1, "name": "december", "runbook": "rollback", "parameters": {"to": "blue"}, **given}
    )
    found = [row(number) for number in range(rows)] if isinstance(rows, int) else rows
    return make_plan(wave, b"", found)
