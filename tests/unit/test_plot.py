"""What a plot of a canary shows, as far as it can be tested without looking at it."""

from dataclasses import replace
from datetime import UTC, datetime
from itertools import pairwise
from typing import Any

from opslib.judge import Arm, Criteria, Failures, Interval, begin, judge
from opslib.judge.before_after import ServedLimits
from opslib.judge.before_after import judge as assess
from opslib.model import Observation, Outcome, Served
from opslib.runbooks.canary.rollout import Rollout
from opslib.runbooks.scale import Scaled
from opslib.show.plot import _draw_limit, _p95_limit_ms, _times, plot, plot_scale

WHEN = datetime(2026, 11, 27, tzinfo=UTC)


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


def test_a_scale_is_drawn_with_the_lower_limit_of_p95():
    """The ratio to the time before binds where it is below the absolute limit; not assessed, there is none."""
    before, after = Served(400, 0, p95_ms=40.0), Served(400, 0, p95_ms=44.0)
    seen = Observation("log", WHEN, WHEN, WHEN, {"before": before, "after": after})
    limits = ServedLimits(min_requests=100, max_failure_rate=0.01, max_p95_ms=250.0, max_p95_ratio=1.5)
    verdict = assess(seen, canary="after", stable="before", limits=limits, bake_over=True)
    scaled = Scaled(Outcome.SUCCEEDED, verdict.reason, "blue", 2, 4, before, after, verdict)
    assert _p95_limit_ms(scaled) == 60.0
    assert plot_scale(scaled).png.startswith(b"\x89PNG")
    assert _p95_limit_ms(replace(scaled, verdict=None)) is None
