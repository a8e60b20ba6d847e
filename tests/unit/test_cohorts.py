"""Outcomes from a file that another system writes: counted once, and never the end of a watch."""

import json
import tracemalloc
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from opslib.azure.request_log import Exposure
from opslib.errors import DefinitionError
from opslib.judge import Arm, Interval
from opslib.runbooks.canary import cohorts
from opslib.runbooks.canary.cohorts import Cohorts, read_request_outcome

SINCE = datetime.now(UTC) - timedelta(minutes=5)
MINUTE = Interval(
    start_s=SINCE.timestamp(), length_s=60.0, weight=50.0, stable=Arm(requests=9), canary=Arm(requests=9)
)


class Log:
    """Knows some requests, all answered by green in the first minute, and records every lookup."""

    def __init__(self, shown: Iterable[str]) -> None:
        self.shown = set(shown)
        self.asked: list[list[str]] = []

    def answered_by(self, ids: Iterable[str], _since: datetime) -> dict[str, Exposure]:
        self.asked.append(list(ids))
        return {i: Exposure("green", SINCE + timedelta(seconds=30)) for i in self.asked[-1] if i in self.shown}


@pytest.fixture
def path(tmp_path: Path) -> Path:
    path = tmp_path / "outcomes.jsonl"
    path.write_text(told("from before", bad=True))
    return path


def told(request_id: object, **what: object) -> str:
    row = {"request_id": request_id, "outcome": "chargeback"} | what
    return json.dumps(row) + "\n"


def follow(path: Path, shown: Iterable[str]) -> tuple[Cohorts, Log]:
    log = Log(shown)
    return Cohorts(path, log, SINCE, window_s=0.0), log  # type: ignore[arg-type]


def take(followed: Cohorts) -> Arm:
    (cohort,) = followed.take([MINUTE], {"stable": "blue", "canary": "green"}, 0.0)
    return cohort.canary


def test_of_duplicate_outcomes_the_last_one_counts(path: Path):
    """A system that sends an outcome again must not double the evidence."""
    followed, _ = follow(path, ["1", "2"])
    with path.open("a") as file:
        file.write(told("1", bad=True) * 3 + told(2, bad=True) + told("2", bad=False))
    arm = take(followed)
    assert arm.outcomes == (("chargeback", 2, 1),)
    assert arm.requests == 2


def test_earlier_lines_of_the_file_are_not_looked_up(path: Path):
    """They are about earlier requests; looking up a year of them would leave the canary unwatched for hours."""
    followed, log = follow(path, ["from before"])
    assert take(followed).outcomes == ()
    assert log.asked == []


def test_a_replaced_file_is_followed(path: Path):
    """Log rotation must not end the reading of outcomes."""
    followed, _ = follow(path, ["1"])
    path.write_text(told("1", bad=True))
    assert take(followed).outcomes == (("chargeback", 1, 1),)


def test_a_look_does_a_limited_number_of_lookups_and_the_next_one_the_others(path: Path, monkeypatch):
    """Requests that the log never shows delay no look, and hide no others."""
    monkeypatch.setattr(cohorts, "MAX_LOOKUPS", 10)
    followed, log = follow(path, ["wanted"])
    with path.open("a") as file:
        file.write("".join(told(f"lost-{n}", bad=False) for n in range(12)) + told("wanted", bad=True))
    followed.take([], {}, 0.0)
    assert take(followed).outcomes == (("chargeback", 1, 1),)
    assert [len(asked) for asked in log.asked] == [10, 10]


def test_a_request_that_the_log_never_shows_is_dropped(path: Path, monkeypatch):
    """Otherwise each of them would be looked up until the run ends."""
    followed, log = follow(path, [])
    with path.open("a") as file:
        file.write(told("lost", bad=True))
    followed.take([], {}, 0.0)
    monkeypatch.setattr(cohorts, "LOOKUP_S", 0.0)
    followed.take([], {}, 0.0)
    assert log.asked == [["lost"]]


@pytest.mark.parametrize("value", ["NaN", "Infinity", "-Infinity", "1e200", "9" * 400, "[" * 100_000])
def test_a_measure_that_cannot_be_summed_is_refused(value: str):
    """One such line must not end the canary in the middle of its watch."""
    with pytest.raises(DefinitionError):
        read_request_outcome(f'{{"request_id": "1", "measure": "order_value", "value": {value}}}')


def test_an_invalid_line_is_counted_and_not_shown(path: Path):
    """Personal data in the file does not enter the evidence."""
    followed, _ = follow(path, [])
    with path.open("a") as file:
        file.write("\n" + '{"request_id": "1", "card": "4111"}\n')
    followed.take([], {}, 0.0)
    assert followed.invalid == 1
    assert followed.first_invalid.startswith("line 2 since the run began: expected")
    assert "4111" not in followed.first_invalid


def test_a_file_of_another_form_takes_no_memory(path: Path):
    """A system that appends something else all day: its lines are counted, and the first one is described."""
    followed, _ = follow(path, [])
    tracemalloc.start()
    for n in range(3):
        with path.open("a") as file:
            file.write(f'{{"other": {n}}}\n' * 10_000)
        followed.take([], {}, 0.0)
    grown = tracemalloc.get_traced_memory()[0]
    tracemalloc.stop()
    assert followed.invalid == 30_000
    assert followed.first_invalid.startswith("line 1 since")
    assert grown < 1_000_000
