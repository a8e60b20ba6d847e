"""A canary under live traffic, killed: whichever process dies, the traffic is restored and the evidence is correct.

The suite kills a seeded dozen; `endings` has the command of the full run, and makes a table of it.
"""

import itertools
import os
import random
import signal
import time
from dataclasses import dataclass
from pathlib import Path

import pytest
from awaiting import wait_until
from endings import Ending, note
from prepared_opslib import PreparedProcess, start_opslib
from run_processes import guardians_of, kernels_of
from runbook_world import QUICK_CANARY, answers

from opslib.cli.main import main
from opslib.evidence.run.record import read_record
from opslib.model import Outcome
from opslib.runbooks.lease.tags import read_lease
from opslib.runbooks.undo.reap import close_left_open, reap

KILLS = int(os.environ.get("OPSLIB_CHAOS_KILLS", "6"))
SEED = 20260101
WHOM = ("kernel", "runner", "both", "both and guardian")
WHEN = ("opened", "preflight", "plan", "applying", "applied", "look", "finished")
MIRRORED = frozenset({"applying", "applied", "look"})
"""Events of the first step, at which a kill finds mirrored traffic: these canaries begin with a mirror stage."""
QUICK = {**QUICK_CANARY, "bake_s": 3, "max_bake_s": 6, "lease_s": 6}


@dataclass(frozen=True)
class Kill:
    """Whom to kill, at which event of the journal, and how long after it [seconds]."""

    whom: str
    when: str
    after_s: float

    def __str__(self) -> str:
        return f"{self.whom} at {self.when}+{self.after_s:.2f}s"


def kills(count: int) -> list[Kill]:
    """Every pair of whom and when in turn, each at the event itself or a seeded moment after it."""
    rng = random.Random(SEED)  # noqa: S311 - seeded on purpose
    pairs = list(itertools.product(WHOM, WHEN))
    rng.shuffle(pairs)
    return [Kill(*pairs[n % len(pairs)], rng.choice([0.0, rng.uniform(0, 2)])) for n in range(count)]


@pytest.mark.parametrize("kill", kills(KILLS), ids=str)
def test_traffic_is_safe_and_the_record_true(make_world, kill, capsys):
    """After recovery traffic is on stable or the finished target, no lease is left, and the record matches."""
    world = make_world(green={})
    with world.clients(rps=20) as answered:
        run = start_canary(world, mirror_percent=50 if kill.when in MIRRORED else 0)
        folder = await_event(world, kill.when, run)
        time.sleep(kill.after_s)
        killed_s = time.monotonic()
        execute_kill(kill, folder, run)
        if kill.whom != "kernel":
            run.wait(30)  # its lock falls with it
        unwatched_s = recover(world, folder, killed_s)
        run.wait(60)
    endpoint = world.read()
    record = read_record(folder)
    finished = endpoint.traffic == {"green": 100}
    safe = not endpoint.mirror_traffic and read_lease(endpoint.tags) is None
    safe = safe and (finished or endpoint.traffic == {"blue": 100})
    statuses = [answer["status"] for answer in answers(answered)]
    failed = [status for status in statuses if status != 200]
    when = f"{kill.when}+{kill.after_s:.2f}s"
    note(Ending(kill.whom, when, str(record.outcome), safe, unwatched_s, len(failed), len(statuses)))
    assert safe, (endpoint.traffic, endpoint.tags, record)
    assert record.outcome is not None
    assert record.outcome is not Outcome.SUCCEEDED or finished, record
    assert not failed, failed[:3]
    assert main(["verify", str(world.runs)]) == 0, capsys.readouterr().out


def start_canary(world, **more: int) -> PreparedProcess:
    parameters = {"endpoint": world.name, "canary": "green", "stages": "[50, 100]", **QUICK, **more}
    given = [word for name, value in parameters.items() for word in ("-p", f"{name}={value}")]
    return start_opslib("run", "canary", "--runs", str(world.runs), *given, folder=world.folder)


def await_event(world, event: str, run) -> Path:
    """Wait until a run's journal shows an event; return its folder."""

    def shown() -> Path | None:
        for journal in world.runs.glob("*/*/journal.jsonl"):
            if f'"event": "{event}"' in journal.read_text():
                return journal.parent
        assert run.poll() is None, f"the run ended before {event}"
        return None

    return wait_until(shown, within_s=60)


def execute_kill(kill: Kill, folder: Path, run) -> None:
    """Kill by SIGKILL."""
    kernels, guardians = kernels_of(folder), guardians_of(folder)
    victims = {
        "kernel": kernels,
        "runner": [run.pid],
        "both": [run.pid, *kernels],
        "both and guardian": [*guardians, run.pid, *kernels],
    }[kill.whom]
    for pid in victims:
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def recover(world, folder: Path, killed_s: float) -> float:
    """Wait for the surviving processes; then recover, as a scheduled job would. Returns seconds unwatched."""

    def settled() -> bool:
        endpoint = world.read()
        kept = endpoint.mirror_traffic or read_lease(endpoint.tags)
        return not kept and endpoint.traffic in ({"blue": 100}, {"green": 100})

    begun = not settled()
    deadline = time.monotonic() + 60
    while not settled() or guardians_of(folder):
        assert time.monotonic() < deadline, world.read()
        if not guardians_of(folder):
            list(reap(world.workspace, world.runs, lambda _: None, world.name))
        time.sleep(0.2)
    unwatched_s = time.monotonic() - killed_s if begun else 0.0
    close_left_open(world.runs)
    return unwatched_s
