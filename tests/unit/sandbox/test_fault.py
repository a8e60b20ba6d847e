import asyncio
import time
from pathlib import Path

import pytest

from opslib.cli.main import main
from opslib.sandbox.arm.errors import ArmError
from opslib.sandbox.arm.store import Store
from opslib.sandbox.core.clock import MICROSECONDS, now_us
from opslib.sandbox.faults.model import EFFECTS, Fault, FaultKind, read_scenario
from opslib.sandbox.faults.registry import Faults

MINUTE = 60 * MICROSECONDS


def _faults() -> Faults:
    return Faults(Store(Path(":memory:")))


def _hits(faults: Faults, times: int) -> list[bool]:
    return [faults.hit(FaultKind.ARM_ERROR, "Op", "fraud", "blue") is not None for _ in range(times)]


def test_count_and_aim_bound_a_fault():
    """Two occasions are hit and no third; other endpoints and operations never."""
    faults = _faults()
    faults.declare(Fault(FaultKind.ARM_ERROR, endpoint="FRA*", operation="o?", count=2))
    assert faults.hit(FaultKind.ARM_ERROR, "Op", "other") is None
    assert faults.hit(FaultKind.ARM_ERROR, "Other", "fraud") is None
    assert _hits(faults, 3) == [True, True, False]


def test_draws_repeat_with_their_seed():
    """The same seed hits the same occasions, another seed others; the share is about the rate."""
    seen = []
    for seed in (1, 1, 2):
        faults = _faults()
        faults.declare(Fault(FaultKind.ARM_ERROR, rate=0.3, seed=seed))
        seen.append(_hits(faults, 400))
    assert seen[0] == seen[1] != seen[2]
    assert 80 < sum(seen[0]) < 160


def test_time_bounds_a_fault(monkeypatch: pytest.MonkeyPatch):
    """Before it begins and after it ends it hits nothing."""
    faults, start_s = _faults(), time.monotonic()
    declared = faults.declare(Fault(FaultKind.ARM_ERROR, after_s=10, seconds=5))
    for at_s, state in ((9, "waiting"), (11, "active"), (16, "ended")):
        monkeypatch.setattr(time, "monotonic", lambda at_s=at_s: start_s + at_s)
        assert (declared.state, _hits(faults, 1)) == (state, [state == "active"])


def test_a_gap_stays_a_gap():
    """The minutes that it touched are lost even when it is over; those of others are not."""
    faults, now = _faults(), now_us()
    faults.declare(Fault(FaultKind.METRIC_GAP, endpoint="fraud", seconds=600))
    faults.clear()
    minute = now // MINUTE * MINUTE
    assert faults.lost("fraud", "", minute, now_us() + MINUTE)
    assert not faults.lost("other", "", minute, now_us() + MINUTE)
    assert not faults.lost("fraud", "", minute - 2 * MINUTE, minute - MINUTE)


def test_what_hangs_is_let_go_when_the_fault_is_cleared():
    """A hanging operation waits for the end of its fault, however long that was declared."""

    async def scene() -> None:
        faults = _faults()
        faults.declare(Fault(FaultKind.LRO_HANG, seconds=3600))
        held = asyncio.create_task(faults.disturb_operation("OnlineEndpoints_Updating", "fraud", ""))
        await asyncio.sleep(0)
        assert not held.done()
        faults.clear()
        async with asyncio.timeout(1):
            await held

    asyncio.run(scene())


def test_a_name_is_taken_once_and_faults_are_bounded():
    """Two faults of one name, and one too many, are refused."""
    faults = _faults()
    for number in range(100):
        faults.declare(Fault(FaultKind.ARM_ERROR, name=str(number)))
    with pytest.raises(ArmError, match="limit"):
        faults.declare(Fault(FaultKind.ARM_ERROR, name="100"))
    faults.clear("99")
    with pytest.raises(ArmError, match="take another name"):
        faults.declare(Fault(FaultKind.ARM_ERROR, name="0"))


def test_a_scenario_seeds_each_fault_for_itself():
    """Faults of one file do not draw alike, and every kind is described."""
    first, second = read_scenario({"seed": 7, "faults": [{"kind": "arm-error"}, {"kind": "arm-error"}]})
    assert (first.seed, second.seed) == (7, 8)
    assert set(EFFECTS) == set(FaultKind)


def test_faults_outlive_the_process(tmp_path: Path):
    """Another process goes on: same names, hits and draws; a bound on hits is one for both; gaps stay gaps."""
    first, whole = Faults(Store(tmp_path / "state.db")), _faults()
    for faults in (first, whole):
        faults.declare(Fault(FaultKind.ARM_ERROR, rate=0.5, seed=3, count=9, name="shared"))
    first.declare(Fault(FaultKind.METRIC_GAP, endpoint="fraud", name="gap"))
    first.clear("gap")
    seen = _hits(first, 10)
    first.save()
    again = Faults(Store(tmp_path / "state.db"))
    seen += _hits(again, 30)
    assert seen == _hits(whole, 40)
    assert sum(seen) == 9
    assert [(one.fault.name, one.state) for one in again.listed()] == [("shared", "ended"), ("gap", "ended")]
    assert again.lost("fraud", "", now_us() // MINUTE * MINUTE, now_us() + MINUTE)
    assert again.declare(Fault(FaultKind.ARM_ERROR)).fault.name == "arm-error-3"


def test_logs_of_one_endpoint_are_late():
    """The delay is that of the endpoint that the fault is aimed at."""
    faults = _faults()
    faults.declare(Fault(FaultKind.LOG_DELAY, endpoint="fraud", delay_s=90))
    assert (faults.logs_delay_s("fraud"), faults.logs_delay_s("other")) == (90, 0)


def test_a_fault_is_cleared_by_any_name(sandbox, capsys: pytest.CaptureFixture[str]):
    """A name may hold blanks and what has a meaning in an address."""
    home = ["--home", str(sandbox.home.root)]
    for words in (["arm-error", "--endpoint", "absent"], ["clear"]):
        assert main(["sandbox", "fault", *words, "--name", "a b?c#d%", *home]) == 0
    assert "a b?c#d%" in capsys.readouterr().out.splitlines()[-1]
