import asyncio

import pytest

from opslib.sandbox.instances.probes import ProbeSettings, keep_ready, read_probes, until_dead

AT_ONCE = ProbeSettings(initial_delay_s=0, period_s=0, timeout_s=1, success_threshold=2, failure_threshold=3)
SETTINGS = {
    "initialDelay": "PT10S",
    "period": "PT5S",
    "timeout": "PT2S",
    "successThreshold": 1,
    "failureThreshold": 4,
}


class Script:
    """Answers a probe from a string: `+` 200, `-` not; ends the probing when it is used up."""

    def __init__(self, answers: str) -> None:
        self._answers = list(answers)
        self.turns: list[bool] = []
        self.failures = 0

    async def ask(self, _timeout_s: float) -> bool:
        if not self._answers:
            raise asyncio.CancelledError
        return self._answers.pop(0) == "+"

    def fail(self) -> None:
        self.failures += 1


@pytest.mark.parametrize(("answers", "dead"), [("---", True), ("--+--", False), ("+--+---", True), ("+++", False)])
def test_liveness_counts_failures_in_a_row(answers, dead):
    """Only as many failures in a row as the threshold end an instance."""
    script = Script(answers)
    try:
        asyncio.run(until_dead(AT_ONCE, script.ask, script.fail))
        died = True
    except asyncio.CancelledError:
        died = False
    assert died == dead
    assert script.failures == answers.count("-")


@pytest.mark.parametrize(
    ("answers", "turns"),
    [("++", []), ("--+---", [False]), ("---++", [False, True]), ("---+-++---", [False, True, False])],
)
def test_readiness_turns_out_and_in(answers, turns):
    """Three failures in a row take an instance out, two successes in a row bring it back."""
    script = Script(answers)
    with pytest.raises(asyncio.CancelledError):
        asyncio.run(keep_ready(AT_ONCE, script.ask, script.turns.append, script.fail))
    assert script.turns == turns


def test_a_startup_probe_gives_time():
    """Without one liveness bounds the start; with one its patience comes first."""
    slow = {**SETTINGS, "failureThreshold": 30}
    bare = read_probes({"livenessProbe": SETTINGS, "readinessProbe": slow, "startupProbe": None})
    assert bare.start_within_s == 30
    patient = read_probes({"livenessProbe": SETTINGS, "readinessProbe": SETTINGS, "startupProbe": slow})
    assert patient.start_within_s == 160 + 30
