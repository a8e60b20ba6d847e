"""Autoscale settings: every rule fires and does not fire on a setting that the sandbox returned; created, moved."""

import copy
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from runbook_world import World

from opslib.autoscale.change import Bounds, RulePair, make_body, read_schedule
from opslib.autoscale.lint import OF_PROFILE, OF_SETTING, LintFacts, lint
from opslib.autoscale.plan import plan_remove, plan_set, undo_of
from opslib.autoscale.setting import ScaleSetting, read_setting
from opslib.azure.rules import read_settings
from opslib.cli.main import main
from opslib.errors import AzureError, Drift, ParameterError, PreflightError, UnexpectedAnswer
from opslib.evidence.run.journal import JournalEvent
from opslib.evidence.run.run_lock import release
from opslib.evidence.signing.findings import VerifyState
from opslib.evidence.verify.verify import verify
from opslib.model import DeleteRule, Outcome, Plan, Rule, SetRule
from opslib.parameters.autoscale import AutoscaleParameters
from opslib.runbooks.autoscale import check_autoscale, plan_autoscale, set_autoscale
from opslib.runbooks.run import Run
from opslib.runbooks.steps.apply import apply
from opslib.runbooks.steps.preflight import require_clear
from opslib.runbooks.undo.interrupted_run import undo_interrupted_run
from opslib.sandbox.insights.autoscale.schedule import choose, read_when

Row = dict[str, Any]
SETTING = "scale-blue"


@pytest.fixture
def scaled(world: World) -> Iterator[World]:
    """A world whose stable deployment has a setting that does not act: it allows the one instance that runs."""
    blue = world.read().deployments[0]
    body = make_body("eastus", blue.id, Bounds(1, 10, 1), [RulePair("CpuUtilizationPercentage", 70.0, 30.0)])
    carry_out(world, plan_set(world.read(), "blue", SETTING, body, ()))
    yield world
    for one in settings(world):
        carry_out(world, plan_remove(world.read(), one.deployment, [one]))


def carry_out(world: World, plan: Plan) -> None:
    for step in plan.steps:
        apply(step, world.workspace, 60.0, lambda _: None)


def problems(world: World, edit: Callable[[Row], None], **most: int) -> set[str]:
    """The rules that fire on the setting as the sandbox returned it, after an edit of its only profile."""
    (found,) = read_settings(world.workspace, world.read())
    arm = copy.deepcopy(dict(found.arm))
    edit(arm["properties"]["profiles"][0])
    return {one.rule for one in lint([read_setting(arm)], LintFacts(world.read(), most))}


def rule(number: int, part: str, **fields: object) -> Callable[[Row], None]:
    """Edit the rule that scales out (0) or in (1)."""
    return lambda profile: profile["rules"][number][part].update(fields)


def capacity(**fields: str) -> Callable[[Row], None]:
    return lambda profile: profile["capacity"].update(fields)


def drop(number: int) -> Callable[[Row], None]:
    return lambda profile: profile["rules"].pop(number)


FIRES: list[tuple[str, Callable[[Row], None], set[str]]] = [
    ("as created", lambda _: None, set()),
    ("a scale-in rule that increases", rule(1, "scaleAction", direction="Increase"), {"direction", "pair"}),
    ("a scale-out rule that decreases", rule(0, "scaleAction", direction="Decrease"), {"direction", "pair"}),
    ("minimum above maximum", capacity(minimum="11"), {"range", "default"}),
    ("minimum of none", capacity(minimum="0"), {"range"}),
    ("default outside", capacity(default="11"), {"default"}),
    ("thresholds crossed", rule(1, "metricTrigger", threshold=80.0), {"flapping"}),
    ("36 at 2 instances is 72 at 1", rule(1, "metricTrigger", threshold=36.0), {"flapping"}),
    ("34 at 2 instances is 68 at 1", rule(1, "metricTrigger", threshold=34.0), set()),
    ("two fewer: 30 at 3 instances is 90 at 1", rule(1, "scaleAction", value="2"), {"flapping"}),
    ("a metric that does not exist", rule(0, "metricTrigger", metricName="CpuUtilisation"), {"metric"}),
    ("a metric of the endpoint", rule(0, "metricTrigger", metricName="RequestLatency"), {"metric"}),
    ("another deployment's metric", rule(0, "metricTrigger", metricResourceUri="/x/deployments/red"), {"metric"}),
    ("no scale-in", drop(1), {"pair"}),
    ("no scale-out", drop(0), {"pair"}),
    ("cooldown below the grain", rule(0, "metricTrigger", timeGrain="PT10M"), {"cooldown"}),
]


def test_each_rule_fires_on_its_fault_alone(scaled):
    """What the sandbox returns has no problem; each edit of it has those that are named, and no other."""
    seen = {what: problems(scaled, edit) for what, edit, _ in FIRES}
    assert seen == {what: wanted for what, _, wanted in FIRES}
    assert problems(scaled, lambda _: None, blue=9) == {"quota"}
    assert problems(scaled, lambda _: None, blue=10) == set()
    assert {name for _, _, wanted in FIRES for name in wanted} | {"quota"} == OF_PROFILE.keys()


def test_a_setting_left_behind_or_without_its_deployment_is_found(scaled):
    """It does not move with the traffic, and outlives what it scales."""
    endpoint = scaled.read()
    (found,) = read_settings(scaled.workspace, endpoint)
    green = replace(endpoint.deployments[0], name="green")
    moved = replace(endpoint, traffic={"blue": 0, "green": 100}, deployments=(*endpoint.deployments, green))
    (left,) = lint([found], LintFacts(moved))
    assert (left.rule, left.fix) == (
        "left-behind",
        f"opslib autoscale move {scaled.name} --from blue --to green",
    )
    (missing,) = lint([found], LintFacts(replace(endpoint, deployments=(green,))))
    assert {left.rule, missing.rule} == OF_SETTING.keys()


def test_nothing_is_written_over_a_change_of_others(scaled):
    """A setting is read before it is written: one that differs from the plan is left alone."""
    (found,) = read_settings(scaled.workspace, scaled.read())
    other = copy.deepcopy(dict(found.arm))
    other["properties"]["profiles"][0]["capacity"]["maximum"] = "7"
    with pytest.raises(Drift, match="nothing was written"):
        carry_out(scaled, plan_remove(scaled.read(), "blue", [replace(found, arm=other)]))
    assert read_settings(scaled.workspace, scaled.read()) == (found,)


def test_a_name_that_another_setting_of_the_group_has_is_named(scaled):
    """Names are of the resource group: the message says whose the setting is, which is left alone."""
    (found,) = read_settings(scaled.workspace, scaled.read())
    endpoint = scaled.read()
    body = make_body("eastus", found.target.replace("/blue", "/green"), Bounds(1, 2, 1), ())
    green = replace(endpoint.deployments[0], name="green")
    plan = plan_set(replace(endpoint, deployments=(*endpoint.deployments, green)), "green", SETTING, body, ())
    with pytest.raises(Drift, match=f"{SETTING} exists already in the resource group, for .*/deployments/blue"):
        carry_out(scaled, plan)
    assert read_settings(scaled.workspace, scaled.read()) == (found,)


def test_a_setting_that_is_replaced_keeps_its_tags_and_whom_it_notifies(scaled):
    """Range, rules and schedules are those of the command; the rest is the team's."""
    endpoint = scaled.read()
    (found,) = read_settings(scaled.workspace, endpoint)
    arm = copy.deepcopy(dict(found.arm))
    arm["tags"] = {"team": "risk"}
    arm["properties"]["notifications"] = [{"operation": "Scale", "email": {"customEmails": ["ann@fraud.example"]}}]
    body = make_body("eastus", found.target, Bounds(2, 4, 2), [RulePair("CpuUtilizationPercentage", 60.0, 20.0)])
    (step,) = plan_set(endpoint, "blue", "", body, [read_setting(arm)]).steps
    assert isinstance(step, SetRule)
    assert step.body["tags"] == {"team": "risk"}
    assert step.body["properties"]["notifications"] == arm["properties"]["notifications"]
    assert step.body["properties"]["profiles"] == body["properties"]["profiles"]


def test_a_setting_is_created_by_a_run_shown_moved_and_put_back(make_world, tmp_path, monkeypatch, capsys):
    """The command runs the notebook; rules follow the deployment; the undo of a run is found by its id."""
    world: World = make_world(green={})
    monkeypatch.chdir(tmp_path)
    wanted = ["--min", "1", "--max", "4", "--schedule", "work=Mon,Tue@08:00-18:00/1-8", "--reason", "office hours"]
    assert main(["autoscale", "set", world.name, *wanted]) == 0
    assert names(world) == {f"autoscale-{world.name}-blue": "blue"}
    assert verify(world.runs).state is VerifyState.SOUND
    (made,) = (path.parent for path in world.runs.glob("*/*autoscale*/run.json"))
    assert [len(json.loads((made / f"{when}.json").read_text())["autoscale"]) for when in ("before", "after")] == [
        0,
        1,
    ]
    capsys.readouterr()
    assert main(["autoscale", "show", world.name, "--json"]) == 0
    (shown,) = json.loads(capsys.readouterr().out)
    assert [(one["minimum"], one["maximum"], one["when"]) for one in shown["profiles"]] == [
        (1, 4, "otherwise"),
        (1, 8, "Mon, Tue from 08:00 UTC"),
        (1, 4, "Mon, Tue from 18:00 UTC"),
    ]
    assert main(["autoscale", "lint", world.name]) == 0
    refusals: dict[str, dict[str, object]] = {
        "a deployment has at most one": {"setting": "second"},
        "minimum 5, maximum 4": {"deployment": "green", "min_instances": 5, "max_instances": 4},
        "no autoscale setting targets green": {"action": "remove", "deployment": "green"},
    }
    for refused, given in refusals.items():
        with pytest.raises(PreflightError, match=refused):
            act(world, **given)
    moved = act(world, action="move", deployment="green")
    assert names(world) == {f"autoscale-{world.name}-green": "green"}
    (now,) = settings(world)
    assert {rule.resource.rsplit("/", 1)[-1] for profile in now.profiles for rule in profile.rules} == {"green"}
    assert main(["autoscale", "lint", world.name]) == 1  # green takes no traffic yet
    act(world, action="undo", undo_run=moved.name)
    assert names(world) == {f"autoscale-{world.name}-blue": "blue"}
    act(world, action="undo", undo_run=made.name)
    assert names(world) == {}
    with pytest.raises(PreflightError, match="those with one: none"):
        act(world, action="move", move_from="blue", deployment="green")


def act(world: World, **given: object) -> Path:
    """Do what the notebook does, in this process; return the run's folder."""
    run, plan = planned(world, **given)
    ended = set_autoscale(run, plan)
    assert ended.outcome is Outcome.SUCCEEDED
    run.finish(ended.outcome, ended.reason)
    return run.folder


def planned(world: World, **given: object) -> tuple[Run[AutoscaleParameters], Plan]:
    run = Run.open(AutoscaleParameters.check({"endpoint": world.name, **given}))
    release(run.folder)
    before = run.read_endpoint()
    require_clear(check_autoscale(run, before))
    return run, plan_autoscale(run, before)


def test_a_move_whose_process_died_is_undone(make_world, tmp_path, monkeypatch):
    """The new setting was made and the old one not yet deleted: the runner puts back what was."""
    world: World = make_world(green={})
    monkeypatch.chdir(tmp_path)
    act(world, min_instances=1)
    run, plan = planned(world, action="move", deployment="green")
    run.journal.write(JournalEvent.APPLYING, plan.steps[0])
    apply(plan.steps[0], world.workspace, 60.0, lambda _: None)
    assert sorted(names(world).values()) == ["blue", "green"]
    assert undo_interrupted_run(run.folder) == f"undone: delete autoscale setting autoscale-{world.name}-green"
    assert names(world) == {f"autoscale-{world.name}-blue": "blue"}
    assert undo_interrupted_run(run.folder) == ""
    act(world, action="remove")
    assert names(world) == {}


def settings(world: World) -> tuple[ScaleSetting, ...]:
    return read_settings(world.workspace, world.read())


def names(world: World) -> dict[str, str]:
    return {one.name: one.deployment for one in settings(world)}


def test_a_step_without_an_answer_is_undone_with_those_before_it(make_world, tmp_path, monkeypatch):
    """Whether Azure has applied it is unknown: the settings are as before in both cases."""
    world: World = make_world(green={})
    monkeypatch.chdir(tmp_path)
    act(world, min_instances=1)
    for applied in (True, False):

        def times_out(step, *rest, applied=applied):
            lost = isinstance(step, DeleteRule)
            if applied or not lost:
                apply(step, *rest)
            if lost:
                monkeypatch.setattr("opslib.runbooks.autoscale.apply", apply)
                raise AzureError("DELETE: no answer within 60 s")

        run, plan = planned(world, action="move", deployment="green")
        monkeypatch.setattr("opslib.runbooks.autoscale.apply", times_out)
        with pytest.raises(AzureError, match="no answer") as raised:
            set_autoscale(run, plan)
        run.record_error(raised.value)
        assert names(world) == {f"autoscale-{world.name}-blue": "blue"}
        assert undo_interrupted_run(run.folder) == ""


@pytest.mark.parametrize(
    "text",
    [
        *("work", "work=Mon@18:00-08:00/1-2", "work=Never@08:00-18:00/1-2", "work=Mon@08:75-18:00/1-2"),
        *("work=Mon,Tue,Wde,Thu@08:00-18:00/1-2", "work=Mon,@08:00-18:00/1-2", "work=M@08:00-18:00/1-2"),
    ],
)
def test_a_schedule_of_another_form_is_refused(text):
    """The message has an example. A day that is not known is not left out: it would have too few instances."""
    with pytest.raises(ParameterError, match=r"expected NAME=DAYS@HH:MM-HH:MM/MIN-MAX"):
        read_schedule(text, "UTC")


def test_days_are_named_by_three_letters_or_more():
    """In any case."""
    assert read_schedule("work=MON,tues,Friday@08:00-18:00/1-2", "UTC").days == ("Monday", "Tuesday", "Friday")


def profiles_of(*texts: str) -> list[Row]:
    schedules = [read_schedule(one, "UTC") for one in texts]
    profiles: list[Row] = make_body("eastus", "/deployments/blue", Bounds(1, 2, 1), (), schedules)["properties"][
        "profiles"
    ]
    return profiles


def test_a_schedule_that_follows_another_one_holds_from_its_start():
    """No two profiles begin at once, of which Azure might take the usual one."""
    profiles = profiles_of("am=Mon,Tue@08:00-12:00/4-8", "pm=Mon@12:00-18:00/6-8")
    times = [read_when(profile) for profile in profiles]
    monday = datetime(2026, 11, 23, tzinfo=UTC)
    held = {
        (day, hour): profiles[choose(times, monday + timedelta(days=day, hours=hour)) or 0]["capacity"]["minimum"]
        for day in (0, 1)
        for hour in (7, 9, 13, 19)
    }
    assert [held[0, hour] for hour in (7, 9, 13, 19)] == ["1", "4", "6", "1"]
    assert [held[1, hour] for hour in (7, 9, 13, 19)] == ["1", "4", "1", "1"]


def test_schedules_that_overlap_are_refused():
    """Azure has no stack of profiles: at the end of the shorter one the usual numbers would hold."""
    with pytest.raises(ParameterError, match="schedules work and peak overlap on Tuesday"):
        profiles_of("work=Mon,Tue@08:00-18:00/4-8", "peak=Tue@11:00-13:00/8-9")


def test_a_recurrence_without_hours_is_not_understood():
    """It is named, as every other form that Azure does not document."""
    recurrence = {"schedule": {"timeZone": "UTC", "days": ["Monday"], "hours": [], "minutes": []}}
    capacity = {"minimum": "1", "maximum": "2", "default": "1"}
    properties = {
        "targetResourceUri": "/deployments/blue",
        "profiles": [{"name": "work", "capacity": capacity, "recurrence": recurrence}],
    }
    with pytest.raises(UnexpectedAnswer, match="autoscale setting scale-blue: not understood"):
        read_setting({"name": "scale-blue", "properties": properties})


def test_an_undo_whose_process_died_between_two_steps_is_continued(make_world, tmp_path, monkeypatch):
    """Both steps of a move were applied, and one was undone: the runner undoes the other one too."""
    world: World = make_world(green={})
    monkeypatch.chdir(tmp_path)
    act(world, min_instances=1)
    run, plan = planned(world, action="move", deployment="green")
    for step in plan.steps:
        run.journal.write(JournalEvent.APPLYING, step)
        run.journal.write(JournalEvent.APPLIED, apply(step, world.workspace, 60.0, lambda _: None))
    assert names(world) == {f"autoscale-{world.name}-green": "green"}
    last = plan.steps[-1]
    assert isinstance(last, Rule)
    run.journal.write(JournalEvent.UNDONE, apply(undo_of(last), world.workspace, 60.0, lambda _: None))
    assert undo_interrupted_run(run.folder).startswith("undone: ")
    assert names(world) == {f"autoscale-{world.name}-blue": "blue"}
    assert undo_interrupted_run(run.folder) == ""
