"""What a plot of a canary shows, as far as it can be tested without looking at it."""

from itertools import pairwise
from typing import Any

from opslib.judge import Arm, Criteria, Failures, Interval, begin, judge
from opslib.model import Outcome
from opslib.runbooks.canary.rollout import Rollout
from opslib.show.plot import _times, plot


def interval(start_s: float, source: str) -> Interval:
    arm = Arm(requests=50)
    return Interval(start_s=start_s, length_s=10.0, weight=50.0, stable=arm, canary=arm, source=source)  # type: ignore[arg-type]


def test_time_runs_one_way_though_probes_are_judged_before_users_traffic_of_the_same_minute():
    """Otherwise the lines run back and forth over one another."""
    criteria = Criteria(metrics=(Failures(),))
    lines: list[Any] = []
    state = begin(criteria, endpoint="fraud", stable="blue@1", canary="green@2")
    for look in range(5):
        shown = [interval(200.0 + 10 * look, "probes"), interval(100.0 + 10 * look, "request log")]
        state, verdict = judge(state, shown, criteria)
        lines += verdict.lines
    times = _times(lines)
    assert len(times) == len(lines) + 1 == 11
    assert all(earlier <= later for earlier, later in pairwise(times))


def test_a_plot_has_its_description_as_text():
    """A terminal, a screen reader and the report get what the picture shows in words."""
    picture = plot(Rollout(Outcome.PLANNED, "dry run: no traffic was moved", "blue", "green", ()))
    shown, metadata = picture._repr_mimebundle_()
    assert shown["image/png"].startswith(b"\x89PNG")
    assert shown["text/plain"] == "No stage was observed. dry run: no traffic was moved"
    assert metadata["image/png"]["alt"] == shown["text/plain"]
