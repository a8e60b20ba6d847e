"""Own probes: two equal versions must come out equal, and nothing that goes wrong ends them unseen."""

from contextlib import nullcontext
from datetime import UTC, datetime, timedelta
from unittest.mock import Mock

import numpy as np
from awaiting import wait_until

from opslib.definitions.probes import Probe
from opslib.judge import Interval, begin, judge, pair_probes
from opslib.model import ProbeResult
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary import probing as module
from opslib.runbooks.canary.judge_settings import criteria_of
from opslib.runbooks.canary.probing import Probing, probing

VERSIONS = {"stable": "blue", "canary": "green"}
CRITERIA = criteria_of(
    CanaryParameters.check({"endpoint": "fraud", "canary": "green", "probes": "p.jsonl", "warm_up_s": 0}),
    per_request=True,
)


def ask(probing: Probing, number: int, stable: list[str], canary: list[str]) -> Interval:
    """One round in which the versions answered so; the expected answer is always "right"."""
    at, answers = datetime.now(UTC), {}
    for question, bodies in enumerate(zip(stable, canary, strict=True)):
        for arm, body in zip(("stable", "canary"), bodies, strict=True):
            problem = "" if body == "right" else f"answered {body}"
            answers[question, arm] = (ProbeResult(at, 200, 10.0, VERSIONS[arm], "opslib-1", problem), body)
    found = [seen for question in range(len(stable)) for seen in probing._compare(question, answers)]
    return pair_probes(found, start_s=60.0 * number, length_s=5.0)


def rounds_of(questions: int) -> Probing:
    return Probing(None, None, VERSIONS, [Probe(n, "right") for n in range(questions)], 1.0)  # type: ignore[arg-type]


def test_two_equal_versions_with_occasional_errors_come_out_equal():
    """A model that is wrong once in seventy times is no worse than itself, however many probes it gets."""
    chance, rounds = np.random.default_rng(1), rounds_of(10)
    state = begin(CRITERIA, endpoint="fraud", stable="blue@1", canary="green@1")
    for number in range(300):
        stable, canary = (
            [f"{chance.random()}" if chance.random() < 1 / 70 else "right" for _ in range(10)] for _ in VERSIONS
        )
        state, verdict = judge(state, [ask(rounds, number, stable, canary)], CRITERIA)
    assert verdict.outcome == "continue", verdict.sentence
    assert verdict.log_peak < 2.0


def test_a_canary_that_loses_a_right_answer_is_found():
    """Stable gave it before, and gives it still."""
    rounds = rounds_of(3)
    first, second = (ask(rounds, n, ["right"] * 3, ["right", "right", "other"]) for n in range(2))
    assert first.paired == (0, 0)
    assert second.paired == (1, 0)


def test_an_expected_answer_that_stable_never_gave_fails_no_version_and_counts_as_changed():
    """It may be the new version's only: stable's answers count for nothing, a share of the canary's may differ."""
    rounds = rounds_of(2)
    for number in range(3):
        seen = ask(rounds, number, ["old", "old"], ["right", "other"])
        assert seen.paired == (0, 0)
        assert seen.canary.changed_answers == (2, 1)


def test_a_round_that_fails_is_reported_and_the_next_one_sent(monkeypatch):
    """A thread that dies unnoticed would leave a canary that only seems to be probed."""

    def broken(*_: object, **__: object) -> None:
        raise OverflowError("int too large to convert to float")

    monkeypatch.setattr(module, "read_scoring_key", lambda *_: "key")
    monkeypatch.setattr(module, "scoring_client", broken)
    problems: list[str] = []
    with probing(None, None, VERSIONS, [Probe(1)], 0.01) as rounds:  # type: ignore[arg-type]
        assert rounds.take() == ()
        rounds.begin()

        def taken() -> bool:
            problems.extend(r.problem for r in rounds.take())
            return len(problems) > 1

        wait_until(taken)
    assert set(problems) == {"OverflowError: int too large to convert to float"}


def test_a_key_is_read_again_when_it_is_refused_or_old(monkeypatch):
    """Else each round would read another token, of which the redactor keeps all."""
    keys, now_s = iter(["first", "second", "third"]), 0.0
    monkeypatch.setattr(module, "read_scoring_key", lambda *_: next(keys))
    monkeypatch.setattr(module, "monotonic", lambda: now_s)
    rounds, client = rounds_of(1), Mock()

    def status_of_round(status: int) -> str:
        key = rounds._read_key()
        result = ProbeResult(datetime.now(UTC), status, 1.0, "blue", "opslib-1")
        client.send_and_read.return_value = result, None
        rounds._send_round(client, 0, datetime.now(UTC))
        return key

    assert [status_of_round(status) for status in (200, 500, 401)] == ["first"] * 3
    assert status_of_round(200) == "second"
    now_s = module.KEY_S + 1
    assert [status_of_round(200), status_of_round(200)] == ["third"] * 2


class SetBack(datetime):
    """A clock that is set back by an hour after it was read once."""

    reads = 0

    @classmethod
    def now(cls, tz=None):
        cls.reads += 1
        return datetime.now(tz) - timedelta(hours=cls.reads > 1)


def test_a_clock_that_is_set_back_does_not_end_the_rounds(monkeypatch):
    """The next round is due after the wanted time, not an hour later."""
    waits: list[float] = []
    monkeypatch.setattr(module, "datetime", SetBack)
    monkeypatch.setattr(module, "scoring_client", lambda *_, **__: nullcontext())
    monkeypatch.setattr(module, "read_scoring_key", lambda *_: "key")
    rounds = Probing(None, None, VERSIONS, [], 5.0)  # type: ignore[arg-type]

    def wait(time_s: float) -> bool:
        waits.append(time_s)
        rounds.end()
        return True

    monkeypatch.setattr(rounds._ended, "wait", wait)
    rounds._run()
    assert len(waits) == 1
    assert waits[0] <= 5.0
    assert [found.problem for found in rounds.take()] == [""]
