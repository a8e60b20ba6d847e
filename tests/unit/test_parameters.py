"""Parameters: strict before a kernel starts, and as strict under papermill alone."""

import ast
from pathlib import Path

import nbformat
import pytest

from opslib.errors import ParameterError
from opslib.parameters import RUNBOOKS
from opslib.parameters.canary import CanaryParameters
from opslib.parameters.deploy import DeployParameters
from opslib.parameters.rollback import RollbackParameters

CANARY = {"endpoint": "fraud", "canary": "green"}
NOTEBOOKS = Path(__file__).parents[2] / "notebooks"


@pytest.mark.parametrize(
    ("text", "seconds"), [("010", 10.0), ("1e2", 100.0), ("+60", 60.0), (" 90 ", 90.0), ("0.5", 0.5), ("5.", 5.0)]
)
def test_a_number_is_decimal(text, seconds):
    """YAML 1.1 reads 010 as eight, and takes 1e2 for text."""
    assert CanaryParameters.check({"endpoint": "fraud", "canary": "green", "bake_s": text}).bake_s == seconds


def test_a_time_with_colons_is_no_number():
    """YAML 1.1 reads 1:30 as ninety: an hour and a half would be a bake of a minute and a half."""
    with pytest.raises(ParameterError, match="bake_s: input should be a valid number, got '1:30'"):
        CanaryParameters.check({"endpoint": "fraud", "canary": "green", "bake_s": "1:30"})


def test_text_is_read_as_what_is_meant():
    """What a command line gives as text becomes a number, a list or a flag; "false" is not true."""
    p = CanaryParameters.check(CANARY | {"stages": "[5, 100]", "bake_s": "20", "dry_run": "false"})
    assert p.stages == [5, 100]
    assert p.bake_s == 20.0
    assert p.dry_run is False


@pytest.mark.parametrize(
    ("given", "said"),
    [
        (
            {"bakes": 1},
            "bakes: unknown (did you mean bake_s?); canary takes alpha, answer_s, answers_mode",
        ),
        ({"bake_s": "abc"}, "bake_s: input should be a valid number, got 'abc'"),
        ({"bake_s": 0}, "bake_s: input should be greater than 0"),
        ({"probe_every_s": 0.01}, "probe_every_s must be 0, or at least 1"),
        ({"min_requests": True}, "min_requests: input should be a valid integer, got True"),
        ({"min_requests": 1.5}, "min_requests: input should be a valid integer"),
        ({"max_p95_ms": float("nan")}, "max_p95_ms: input should be a finite number"),
        ({"stages": [50, 10, 100]}, "stages: stages must rise from one to the next, got [50, 10, 100]"),
        ({"stages": "10,50"}, "stages: input should be a valid list such as [10, 50, 100], got '10,50'"),
        ({"stages": [10, 50]}, "the last stage must be 100"),
        ({"stages": []}, "stages: list should have at least 1 item"),
        (
            {"outcomes": "o.jsonl"},
            "\n  outcomes and the names in it (bad_outcomes, measures) must be given together, got out",
        ),
        ({"canary": "../x"}, "canary: string should match pattern"),
        ({"source": "prometheus"}, "source: input should be 'auto', 'request log' or 'metrics'"),
        ({"dry_run": "maybe"}, "dry_run: input should be a valid boolean"),
    ],
)
def test_a_wrong_parameter_is_refused_by_name(given, said):
    """The message names the parameter, what is expected and what was seen."""
    with pytest.raises(ParameterError) as raised:
        CanaryParameters.check(CANARY | given)
    assert said in str(raised.value)


def test_all_problems_are_said_at_once():
    """Somebody who mended one parameter is not told of the next one only then."""
    with pytest.raises(ParameterError) as raised:
        DeployParameters.check({"endpoint": "f", "nonsense": 1})
    assert all(word in str(raised.value) for word in ("endpoint", "definition: missing", "nonsense: unknown"))


def test_papermills_injected_cell_is_checked_for_unknown_names():
    """papermill only logs an unknown parameter; the bind cell refuses it."""
    namespace = CANARY | {"In": ["", "endpoint = ''", "# Parameters\ncanary = 'green'\nbake = 5\n"], "bake": 5}
    with pytest.raises(ParameterError, match="bake: unknown"):
        CanaryParameters.bind(namespace)


def test_names_that_a_person_defines_in_lab_are_no_parameters():
    """Whoever tries things in JupyterLab may have variables of their own."""
    assert CanaryParameters.bind(CANARY | {"In": ["mine = 1"], "mine": 1}).canary == "green"


def test_rollback_needs_no_target():
    """An empty name means the last known good deployment."""
    assert not RollbackParameters.check({"endpoint": "fraud"}).to


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_the_notebooks_parameters_cell_repeats_the_class(runbook):
    """At most ten lines, with every required name; names and defaults are those of the class."""
    notebook = nbformat.read(NOTEBOOKS / f"{runbook}.ipynb", as_version=4)
    cell = next(c for c in notebook.cells if "parameters" in c.metadata.get("tags", []))
    written = {node.target.id: ast.literal_eval(node.value) for node in ast.parse(cell.source).body}
    fields = RUNBOOKS[runbook].model_fields
    assert len(written) <= 10
    assert {name for name, field in fields.items() if field.is_required()} <= written.keys()
    for name, value in written.items():
        if not fields[name].is_required():
            assert value == fields[name].default, name


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_papermill_parses_every_line_of_the_parameters_cell(runbook, caplog):
    """A line with a second equals sign, even in its comment, makes papermill warn in every run."""
    import papermill  # noqa: PLC0415 - takes a second, most tests need none

    assert papermill.inspect_notebook(NOTEBOOKS / f"{runbook}.ipynb")
    assert "Unable to parse" not in caplog.text
