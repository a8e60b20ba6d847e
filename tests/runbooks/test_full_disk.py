"""The disk of the evidence fills up under a canary: the traffic goes back all the same, nothing is destroyed."""

from awaiting import wait_until
from evidence_fixture import contents, make_run
from prepared_opslib import PreparedProcess, start_opslib
from runbook_world import QUICK_CANARY, journal
from small_disk import small_disk

from opslib.evidence.run.journal import read_journal
from opslib.evidence.run.record import read_record
from opslib.evidence.verify.verify import verify
from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease

CANARY = {**QUICK_CANARY, "canary": "green", "bake_s": 60, "max_bake_s": 60, "stages": "[50, 100]"}


def opslib(world, *words: str) -> PreparedProcess:
    output = world.folder / "output.txt"
    return start_opslib(*words, "--runs", str(world.runs), folder=world.folder, output=output)


def test_a_disk_that_fills_up_under_a_canary_costs_no_traffic_and_no_evidence(make_world):
    """Traffic restored, lease gone, exit code 1; the reserved room is enough for a sealed record of it."""
    world = make_world(green={})
    with small_disk(world.runs) as disk:
        sealed = make_run(world.runs)
        before = contents(sealed)
        given = {"endpoint": world.name, **CANARY}
        run = opslib(world, "run", "canary", *(w for n, v in given.items() for w in ("-p", f"{n}={v}")))
        wait_until(lambda: world.read().traffic == {"blue": 50, "green": 50}, within_s=60)
        folder = next(f for f in world.runs.glob("2*/*-canary-*") if world.name in f.name)
        wait_until(lambda: journal(folder, "look"))
        disk.fill()
        output, _ = run.communicate(timeout=120)
        assert world.read().traffic == {"blue": 100}
        assert read_lease(world.read().tags) is None
        assert run.returncode == Outcome.FAILED.exit_code, output
        record = read_record(folder)
        assert record.outcome is Outcome.FAILED
        assert "cannot be written" in record.reason
        assert "traffic is as it was before: blue=100" in record.reason
        assert (record.traffic_before, record.traffic_after) == ({"blue": 100}, {"blue": 100})
        events = list(read_journal(folder / "journal.jsonl"))
        assert [e["seq"] for e in events] == list(range(1, len(events) + 1))
        assert verify(world.runs).findings == ()
        assert contents(sealed) == before
