"""What a canary is judged by besides users' failures and latency: own probes, what became of answers, late rows."""

import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from pathlib import Path
from threading import Event

from awaiting import wait_until
from runbook_world import QUICK_CANARY as QUICK
from runbook_world import World, journal

from opslib.model import Outcome
from opslib.runbooks.canary.rejudge import judge_again

LONG = QUICK | {"bake_s": 40, "max_bake_s": 40}


@contextmanager
def alongside(work: Callable[[Event], None]) -> Iterator[None]:
    """Run `work(ended)` in a thread as long as the context is open; its failure is this one's."""
    ended = Event()
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work, ended)
        try:
            yield
        finally:
            ended.set()
        working.result(timeout=60)


def looks_at(world: World) -> list[dict]:
    """The looks that the run under way has taken so far."""
    return [look for path in world.runs.rglob("journal.jsonl") for look in journal(path.parent, "look")]


def test_probes_are_put_to_both_versions_and_stop_one_that_answers_none(make_world, tmp_path: Path):
    """A version that breaks for a question that users seldom ask is found by a few rounds of its probes."""
    switch = tmp_path / "broken"
    world = make_world(green={"BROKEN_BY": str(switch)})

    def break_it(ended: Event) -> None:
        wait_until(lambda: ended.is_set() or any(probed(look) for look in looks_at(world)), within_s=60)
        switch.touch()

    probes = world.folder / "large.jsonl"
    probes.write_text(json.dumps({"request": {"data": [1000]}, "answer": {"version": "green", "sum": 1000}}))
    given = {"stages": [20, 100], "probes": str(probes), "probe_every_s": 1}
    with world.clients(), alongside(break_it):
        folder, record = world.run("canary", canary="green", **(LONG | given))
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert "failed every probe of 5 rounds in a row" in record.reason
    rounds = [interval for look in journal(folder, "look") for interval in look["intervals"] if probed_by(interval)]
    assert all(each["stable"]["requests"] == each["canary"]["requests"] == 1 for each in rounds)
    assert all("failures" not in each["stable"] or not each["stable"]["failures"] for each in rounds)
    assert {result["deployment"] for sent in journal(folder, "probes") for result in sent} == {"blue", "green"}
    assert all(look.same for look in judge_again(folder))
    assert (
        "own probes, paired: exact, but only for the requests that they send"
        in (folder / "notebook.ipynb").read_text()
    )


def test_answers_that_change_more_than_allowed_need_a_person(make_world):
    """The right answer is unknown, but every one differs from stable's: the canary is held, not promoted."""
    world = make_world(green={})
    probes = world.folder / "questions.jsonl"
    probes.write_text("".join(json.dumps({"request": {"data": [n]}}) + "\n" for n in range(10)))
    given = {"stages": [50, 100], "probes": str(probes), "probe_every_s": 1, "answers_mode": "advise"}
    with world.clients():
        _, record = world.run("canary", canary="green", **(QUICK | given | {"max_bake_s": 6}))
    assert record.outcome is Outcome.HELD, record.reason
    assert "changed answers: evidence of harm" in record.reason
    assert "in mode advise a person decides" in record.reason
    assert world.read().traffic == {"blue": 100}


def test_outcomes_are_counted_by_the_version_that_answered(make_world):
    """A version whose answers turn out badly is rolled back, though each of them was quick and well-formed."""
    world = make_world(green={})
    outcomes = world.folder / "outcomes.jsonl"
    outcomes.write_text("this is from before the canary\n")

    def tell(ended: Event) -> None:
        """Append what became of each answer, as the business finds out."""
        told = 0
        wait_until(lambda: ended.is_set() or looks_at(world), within_s=60)
        outcomes.write_text(outcomes.read_text() + "this is no outcome\n")
        while not ended.wait(0.2):
            fresh = world.client_answers()[told:]
            told += len(fresh)
            with outcomes.open("a") as file:
                for n, answer in enumerate(fresh):
                    bad = answer["deployment"] == "green" and n % 3 > 0
                    row = {"request_id": answer["client_request_id"], "outcome": "chargeback", "bad": bad}
                    file.write(json.dumps(row) + "\n")
                    value = {"request_id": row["request_id"], "measure": "order_value", "value": 5.0 + n % 2}
                    file.write(json.dumps(value) + "\n")

    given: dict[str, object] = {"outcomes": str(outcomes), "bad_outcomes": ["chargeback"]}
    given |= {"measures": {"order_value": 0.5}}
    given |= {"stages": [50, 100], "outcomes_mode": "act", "outcome_window_s": 2}
    with world.clients(), alongside(tell):
        folder, record = world.run("canary", canary="green", **(LONG | given))
    assert record.outcome is Outcome.ROLLED_BACK, record.reason
    assert "chargeback" in record.reason
    cohorts = [cohort for look in journal(folder, "look") for cohort in look["cohorts"]]
    assert {bad for each in cohorts for _, _, bad in each["stable"].get("outcomes", [])} == {0}
    assert any(row[0] == "order_value" for each in cohorts for row in each["canary"].get("moments", []))
    assert "1 invalid line in the outcomes file" in " ".join(journal(folder, "progress"))
    assert all(look.same for look in judge_again(folder))


def test_outcomes_without_a_request_log_block_the_run(make_world):
    """Metrics do not have the deployment that answered a request: no outcome could be assigned."""
    world = make_world(green={})
    given = {"outcomes": str(world.folder / "nothing.jsonl"), "bad_outcomes": ["chargeback"]}
    _, record = world.run("canary", canary="green", **(QUICK | given))
    assert record.outcome is Outcome.REFUSED
    assert "nothing.jsonl is not a file" in record.reason


def probed(look: dict) -> bool:
    return any(probed_by(interval) for interval in look["intervals"])


def probed_by(interval: dict) -> bool:
    return interval["source"] == "probes"
