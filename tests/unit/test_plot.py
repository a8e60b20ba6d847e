"""What a plot of a canary shows, as far as it can be tested without looking at it."""

from itertools import pairwise
from typing import Any

from opslib.judge import Arm, Criteria, Failures, Interval, begin, judge
from opslib.model import Outcome
from opslib.runbooks.canary.rollout import Rollout
from opslib.show.plot import _draw_limit, _times, plot


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


def test_objectives_are_drawn_where_they_flatten_nothing():
    """A limit near what was served is a line with its name; one far above is named at the edge."""
    from matplotlib.figure import Figure  # noqa: PLC0415 - half a second

    axis = Figure().subplots()
    axis.set_ylim(0, 10)
    _draw_limit(axis, 20.0, "limit 20 ms")
    assert [list(line.get_ydata()) for line in axis.get_lines()] == [[20.0, 20.0]]  # type: ignore[arg-type]
    assert axis.get_ylim() == (0, 22.0)
    _draw_limit(axis, 1000.0, "limit 1,000 ms")
    assert len(axis.get_lines()) == 1
    assert [text.get_text() for text in axis.texts] == ["limit 20 ms", "↑ limit 1,000 ms"]
