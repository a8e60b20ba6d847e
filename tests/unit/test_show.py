"""What a person sees of the values that flow through a runbook."""

from dataclasses import dataclass
from datetime import UTC, datetime
from importlib import import_module

import pytest
from IPython.core.formatters import DisplayFormatter

from opslib.displayed import Displayed, view
from opslib.evidence.run.record import Record
from opslib.judge import BakeForecast, Verdict
from opslib.model import (
    Deployment,
    Endpoint,
    Finding,
    Findings,
    Level,
    Observation,
    Outcome,
    Plan,
    ProbeResult,
    Served,
    asset_name,
)
from opslib.runbooks.canary.rollout import Rollout
from opslib.runbooks.deploy import Deployed
from opslib.runbooks.rollback import RolledBack
from opslib.runbooks.run import Run
from opslib.runbooks.scale import Scaled
from opslib.runbooks.steps.plan import plan_instances
from opslib.show.registered import MODULES

DIGEST = "f7a43f95d8fc" + 52 * "0"
SCOPE = "/subscriptions/s-1/resourceGroups/rg-1/providers/Microsoft.MachineLearningServices/workspaces/ws-1"
MODEL = f"{SCOPE}/models/{DIGEST}/versions/1"
BLUE = Deployment(
    name="blue",
    provisioning_state="Succeeded",
    model=asset_name(MODEL),
    environment=f"env:{DIGEST}",
    code="code:1",
    instance_type="Standard_F2s_v2",
    instance_count=2,
    max_concurrent_requests_per_instance=4,
    arm={"id": "x", "properties": {"model": MODEL}},
)
ENDPOINT = Endpoint(
    name="fraud",
    provisioning_state="Succeeded",
    auth_mode="Key",
    scoring_uri="https://fraud.example",
    traffic={"blue": 100},
    mirror_traffic={},
    tags={},
    deployments=(BLUE,),
    arm={"id": f"{SCOPE}/onlineEndpoints/fraud"},
)


@pytest.mark.parametrize(
    "kind",
    [
        BakeForecast,
        Deployed,
        Endpoint,
        Findings,
        Observation,
        Plan,
        Record,
        RolledBack,
        Rollout,
        Run,
        Scaled,
        Verdict,
    ],
)
def test_every_value_that_a_cell_ends_in_has_a_view(kind):
    """A class that displays itself is registered, so that no cell falls back to the bare value."""
    assert issubclass(kind, Displayed)
    import_module(MODULES[kind.__module__])
    assert view.dispatch(kind) is not view.dispatch(object)


def test_a_value_displays_itself_as_html_and_as_text():
    """Both forms come from one table; messages and debuggers still get the plain value."""
    shown = ENDPOINT._repr_mimebundle_()
    assert shown.keys() == {"text/html", "text/plain"}
    assert shown["text/plain"] == str(ENDPOINT)
    assert "blue          100 %  Succeeded  2 x Standard_F2s_v2" in str(ENDPOINT)
    assert ENDPOINT._repr_html_() == shown["text/html"]
    assert repr(ENDPOINT).startswith("Endpoint(name='fraud'")


def test_ipython_shows_both_forms():
    """IPython prints a tuple in a way of its own; findings are shown as their table all the same."""
    findings = Findings((Finding("state", Level.OK, "Succeeded"),))
    shown, _ = DisplayFormatter().format(findings)
    assert shown["text/plain"] == str(findings)
    assert shown["text/html"] == findings._repr_html_()


def test_long_ids_are_shortened_with_the_whole_in_a_tooltip():
    """An anonymous model shows 12 digits of its name; the tooltip holds its ARM id."""
    html = ENDPOINT._repr_html_()
    assert f'<span title="{MODEL}">{DIGEST[:12]}:1</span>' in html
    assert DIGEST not in str(ENDPOINT)
    assert f"env:{DIGEST[:12]}" in str(ENDPOINT)


def test_html_follows_the_page_and_runs_nothing():
    """No background, no fixed text colour, no style sheet, no script; what a service answered is escaped."""
    findings = Findings((Finding("state", Level.BLOCKER, "<script>alert(1)</script>", "Wait."),))
    html = findings._repr_html_()
    assert "<script" not in html
    assert "<style" not in html
    assert "background" not in html
    assert "color:var(--jp-error-color1" in html


def test_numbers_are_aligned_right():
    """In both forms, under their heading."""
    since = datetime(2026, 1, 1, tzinfo=UTC)
    seen = Observation(
        "request log", since, since, since, {"blue": Served(1705, 0, 5.0), "green": Served(73, 5, 6.0)}
    )
    assert seen._repr_html_().count("text-align:right") == 5 + 2 * 5
    lines = str(seen).splitlines()[1:4]
    ends = [line.index(text) + len(text) for line, text in zip(lines, ("requests", "1,705", "73"), strict=True)]
    assert len(set(ends)) == 1
    assert "0 of 1,705" in lines[1]
    assert "5 of 73 (6.8 %)" in lines[2]


def test_a_plan_shows_the_command_for_each_step_in_its_own_workspace():
    """The workspace is read from the endpoint's ARM id."""
    text = str(plan_instances(ENDPOINT, "blue", 3))
    assert "step 1  instances of blue 2 -> 3" in text
    assert "az ml online-deployment update --name blue --endpoint-name fraud --set instance_count=3" in text
    assert "--resource-group rg-1 --workspace-name ws-1" in text
    assert text.splitlines()[-1].startswith("undo")


def test_like_answers_share_a_row():
    """Twenty requests are a row for each kind of answer, with their number of all."""
    now = datetime.now(UTC)
    probes = [ProbeResult(now, 200, 10.0 + n, "green", "id") for n in range(19)]
    probes.append(ProbeResult(now, 424, 5.0, "green", "id", "the model failed"))
    text = str(Deployed(Outcome.FAILED, "green is removed", "green", tuple(probes)))
    assert "19 of 20     200  green         19 ms    28 ms  ✓ as expected" in text
    assert " 1 of 20     424  green        5.0 ms   5.0 ms  the model failed" in text


def test_a_table_without_rows_shows_its_title_and_note():
    """Nothing to list is not an empty grid."""
    planned = Deployed(Outcome.PLANNED, "dry run: nothing was created", "green")
    assert "<table" not in planned._repr_html_()
    assert str(planned).startswith("Deployment green: planned\ndry run: nothing was created.")


def test_a_value_without_a_view_shows_its_repr():
    """A class of one's own that takes the mixin displays something in any case."""

    @dataclass(frozen=True)
    class Own(Displayed):
        name: str

    assert str(Own("<a>")).endswith("Own(name='<a>')")
    assert "&lt;a&gt;" in Own("<a>")._repr_html_()
