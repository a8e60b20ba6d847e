"""What a plot of a canary shows, where no eye is needed to see it."""

from itertools import pairwise

from opslib.judge import Arm, Criteria, Failures, Interval, begin, judge
from opslib.show.plot import _times


def interval(start_s: float, source: str) -> Interval:
    arm = Arm(requests=50)
    return Interval(start_s=start_s, length_s=10.0, weight=50.0, stable=arm, canary=arm, source=source)  # type: ignore[arg-type]


def test_time_runs_one_way_though_probes_are_judged_before_users_traffic_of_the_same_minute():
    """Else the lines run to and fro over one another."""
    criteria, lines = Criteria(metrics=(Failures(),)), []
    state = begin(criteria, endpoint="fraud", stable="blue@1", canary="green@2")
    for look in range(5):
        shown = [interval(200.0 + 10 * look, "probes"), interval(100.0 + 10 * look, "request log")]
        state, verdict = judge(state, shown, criteria)
        lines += verdict.lines
    times = _times(lines)
    assert len(times) == len(lines) + 1 == 11
    assert all(earlier <= later for earlier, later in pairwise(times))
