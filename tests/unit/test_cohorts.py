"""What became of answers, from a file that anybody may write: counted once, and never the end of a watch."""

import json
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
    """Shows some requests, all answered by green in the first minute, and remembers who was asked for."""

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


def test_what_is_told_twice_counts_once_as_it_was_told_last(path: Path):
    """A business that sends again what it sent must not double the evidence."""
    followed, _ = follow(path, ["1", "2"])
    with path.open("a") as file:
        file.write(told("1", bad=True) * 3 + told(2, bad=True) + told("2", bad=False))
    arm = take(followed)
    assert arm.outcomes == (("chargeback", 2, 1),)
    assert arm.requests == 2


def test_what_stood_in_the_file_before_is_not_looked_up(path: Path):
    """It is about earlier requests; a year of it would keep the canary unwatched for hours."""
    followed, log = follow(path, ["from before"])
    assert take(followed).outcomes == ()
    assert log.asked == []


def test_a_file_that_was_begun_anew_is_followed(path: Path):
    """Log rotation must not silence the outcomes for good."""
    followed, _ = follow(path, ["1"])
    path.write_text(told("1", bad=True))
    assert take(followed).outcomes == (("chargeback", 1, 1),)


def test_the_log_is_asked_for_so_many_at_once_and_for_the_others_next(path: Path, monkeypatch):
    """Requests that the log never shows delay no look, and hide no others."""
    monkeypatch.setattr(cohorts, "MAX_LOOKUPS", 10)
    followed, log = follow(path, ["wanted"])
    with path.open("a") as file:
        file.write("".join(told(f"lost-{n}", bad=False) for n in range(12)) + told("wanted", bad=True))
    followed.take([], {}, 0.0)
    assert take(followed).outcomes == (("chargeback", 1, 1),)
    assert [len(asked) for asked in log.asked] == [10, 10]


def test_a_request_that_the_log_never_shows_is_forgotten(path: Path, monkeypatch):
    """Else each of them would be asked for until the run ends."""
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


def test_a_refused_line_is_named_and_not_shown(path: Path):
    """What a business wrote about its customers does not enter the evidence."""
    followed, _ = follow(path, [])
    with path.open("a") as file:
        file.write("\n" + '{"request_id": "1", "card": "4111"}\n')
    followed.take([], {}, 0.0)
    (problem,) = followed.invalid
    assert problem.startswith("line 2 since the run began: expected")
    assert "4111" not in problem
