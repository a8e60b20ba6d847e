"""The mirror stage of a canary: its plan, its undo, its lease, Azure's limits, and its sentences."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest
from worlds import deployment, endpoint

from opslib.errors import ParameterError
from opslib.judge import Verdict
from opslib.model import Level, Observation, Scope, SetTraffic
from opslib.parameters.canary import CanaryParameters
from opslib.runbooks.canary.rollout import MIRROR_LIMITS, Stage, outcome_of
from opslib.runbooks.costs import longest_bake_s
from opslib.runbooks.lease.tags import Lease, acquire, read_lease, renew
from opslib.runbooks.progress import Progress, follow
from opslib.runbooks.steps.mirror_preflight import check_bandwidth, check_mirror_stage
from opslib.runbooks.steps.plan import canary_of, plan_stages
from opslib.runbooks.steps.step_text import az_command, describe_step
from opslib.show.progress import rows

BOTH = endpoint({"blue": 100}, deployment("blue"), deployment("green"))
NOW = datetime(2026, 1, 1, tzinfo=UTC)


def test_the_mirror_is_the_first_step_and_ends_before_live_traffic():
    """Live traffic stays in the first step; the second and the undo end the mirror."""
    plan = plan_stages(BOTH, "green", [10, 100], 60.0, 20)
    first, second, last = plan.steps
    assert first == SetTraffic("fraud", {"blue": 100}, {"blue": 100}, 60.0, {"green": 20})
    assert second == SetTraffic("fraud", {"blue": 100}, {"blue": 90, "green": 10}, 60.0, {"green": 0})
    assert last.mirror is None
    assert plan.undo == (SetTraffic("fraud", {"green": 100}, {"blue": 100}, mirror={"green": 0}),)
    assert canary_of(plan) == "green"
    assert describe_step(first) == "mirror green=20 percent of live traffic, baked for 60 s"
    assert describe_step(second).startswith("end the mirror, then traffic blue=100 -> blue=90 green=10")


def test_each_step_has_its_commands():
    """Two where the mirror ends: the service refuses both kinds of traffic on one deployment."""
    scope = Scope("s", "g", "w", "")
    mirror, ends = (az_command(step, scope) for step in plan_stages(BOTH, "green", [10, 100], 60.0, 20).steps[:2])
    assert '--mirror-traffic "green=20"' in mirror
    assert "--traffic" not in mirror.replace("--mirror-traffic", "")
    first, second = ends.split(" && ")
    assert '--mirror-traffic "green=0"' in first
    assert '--traffic "blue=90 green=10"' in second


def test_without_a_mirror_the_plan_is_as_before():
    """No step mentions it."""
    plan = plan_stages(BOTH, "green", [10, 100], 60.0)
    assert all(step.mirror is None for step in (*plan.steps, *plan.undo))


def test_the_lease_holds_the_mirror_until_live_traffic_moves():
    """Any process can end it; the next stage's lease has none, and a lease of before has none either."""
    lease = Lease("run", "ann", {"blue": 100}, {"blue": 100}, NOW, {"green": 20})
    held = acquire(lease)({"team": "risk"})
    assert read_lease(held) == lease
    moved = renew(replace(lease, mirrors={}))(held)
    assert read_lease(moved).mirrors == {}
    assert moved["team"] == "risk"


@pytest.mark.parametrize(
    ("before", "expected"),
    [
        (BOTH, {"mirror": Level.OK, "mirror: compute": Level.OK}),
        (replace(BOTH, mirror_traffic={"red": 5}), {"mirror": Level.BLOCKER, "mirror: compute": Level.OK}),
        (
            replace(BOTH, arm={"id": "/fraud", "properties": {"compute": "azureml:aks"}}),
            {"mirror": Level.OK, "mirror: compute": Level.BLOCKER},
        ),
    ],
)
def test_azures_limits_are_checked(before, expected):
    """One mirror, and none on Kubernetes."""
    assert {one.check: one.level for one in check_mirror_stage(before, "green", 20)} == expected


@pytest.mark.parametrize(
    ("seen", "expected"), [(1e6, Level.OK), (3.4e6, Level.BLOCKER), (3.3e6, Level.OK), (None, Level.WARNING)]
)
def test_the_copies_fit_within_the_bandwidth(seen, expected):
    """Half of the traffic once more: 3.3 MB/s become 4.95 of 5."""
    assert check_bandwidth(seen, 50, "HTTP 403").level is expected


def test_at_most_half_is_mirrored_and_outcomes_do_not_act():
    """Copies have no outcomes: with outcomes that act, the stage could never end well."""
    given = {"endpoint": "fraud", "canary": "green", "outcomes": "o.jsonl", "bad_outcomes": ["chargeback"]}
    with pytest.raises(ParameterError, match="mirror_percent"):
        CanaryParameters.check(given | {"mirror_percent": 51})
    with pytest.raises(ParameterError, match="copies have no outcomes"):
        CanaryParameters.check(given | {"mirror_percent": 5, "outcomes_mode": "act"})
    mirrored = CanaryParameters.check(given | {"mirror_percent": 5})
    plain = CanaryParameters.check(given)
    assert longest_bake_s(mirrored) - longest_bake_s(plain) == plain.max_bake_s + plain.late_data_s


def test_the_verdict_states_what_copies_cannot_show():
    """A canary that ends there affected no user."""
    seen = Observation("request log", NOW, NOW, None, {}, ())
    verdict = Verdict(
        outcome="rollback", binding="failures", log_evidence=4.0, log_peak=4.0, log_threshold=3.0, log_metrics=(),
        proofs=(), reasons=(), more_requests=None, more_minutes=None, lines=(), basis="",
        sentence="5 of 73 canary requests failed.",
    )  # fmt: skip
    stage = Stage({"blue": 100}, NOW, 6.0, seen, verdict, "rollback", mirror={"green": 20})
    _, reason = outcome_of([stage], "green")
    assert reason.startswith("at 20 % of mirrored traffic, no user got an answer of the canary: ")
    assert MIRROR_LIMITS in reason
    assert stage.share("green") == "mirror 20 %"


def test_progress_shows_the_mirror():
    """As long as its stage lasts."""
    first, second, _ = plan_stages(BOTH, "green", [10, 100], 60.0, 20).steps
    progress = Progress(stage=1, stages=3)
    for step, expected in ((first, "1 of 3: blue=100, mirror green=20"), (second, "1 of 3: blue=90 green=10")):
        data = {"after": step.after, "bake_s": step.bake_s, "mirror": step.mirror}
        progress = follow(progress, {"event": "applying", "at": NOW.isoformat(), "data": data})
        assert next(rows(progress, NOW)).numbers == expected
