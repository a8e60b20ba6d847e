"""A form for a runbook's parameters: what it accepts, what it shows, and the notebook that it writes."""

import shlex
from dataclasses import replace

import nbformat
import pytest
import yaml

from opslib.displayed import view
from opslib.errors import ParameterError
from opslib.lab.draft import check_draft, choices
from opslib.lab.filled import fill_cell, run_command
from opslib.lab.form import form
from opslib.parameters import RUNBOOKS
from opslib.parameters.canary import CanaryParameters

POLICY = {
    "version": 1,
    "endpoint": "fraud",
    "owner": {"team": "HarborShield claims", "contact": "#claims-on-call"},
    "objectives": {"max_failure_rate": 0.01, "max_p95_ms": 250},
    "release": {"stages": [5, 100], "bake_s": 60},
}


@pytest.fixture
def policy(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "policy.yml").write_text(yaml.safe_dump(POLICY))
    return "policy.yml"


def test_each_value_has_its_origin(policy):
    """Given before the policy, the policy before the default; what is missing is named."""
    draft = check_draft("canary", {"endpoint": "fraud", "policy": policy, "bake_s": "30", "canary": ""})
    shown = {name: (draft.shown[name].text, draft.shown[name].origin) for name in draft.shown}
    assert shown["bake_s"] == ("30", "given")
    assert shown["stages"] == ("[5, 100]", "policy")
    assert shown["max_p95_ms"] == ("250.0", "policy")
    assert shown["lease_s"] == ("900.0", "default")
    assert shown["canary"] == ("", "missing")
    assert draft.problems == {"canary": "canary: missing; deployment to release"}
    assert draft.values is None


def test_a_form_refuses_what_a_run_refuses(policy):
    """The messages are those of the run's own validation, at the field that they are about."""
    typed = {"endpoint": "fraud", "canary": "green", "bake_s": "soon", "stages": "[50, 10, 100]"}
    draft = check_draft("canary", typed)
    with pytest.raises(ParameterError) as refused:
        CanaryParameters.check(typed)
    assert set(draft.problems) == {"bake_s", "stages"}
    assert all(problem in str(refused.value) for problem in draft.problems.values())
    other = check_draft("canary", {"endpoint": "claims", "canary": "green", "policy": policy})
    assert "is the policy of endpoint 'fraud'" in other.problems["policy"]
    assert "missing.yml" in check_draft("canary", {"policy": "missing.yml"}).problems["policy"]
    secret = check_draft("canary", typed | {"reason": "AccountKey=" + "a" * 86 + "=="})
    assert "contains a secret" in secret.problems[""]


def test_a_given_value_that_equals_the_default_is_kept_before_the_policy(policy):
    """The filled cell marks the given values: the policy's 60 s does not replace the 600 s that were typed."""
    typed = {"endpoint": "fraud", "canary": "green", "policy": policy, "bake_s": "600"}
    draft = check_draft("canary", typed)
    cell = fill_cell("canary", "endpoint: str = ''  # endpoint to work on", draft.given)
    namespace = {"In": ["", cell]}
    exec(cell, namespace)  # noqa: S102 - as a kernel runs it
    bound = CanaryParameters.bind(namespace)
    assert bound.model_fields_set == {"endpoint", "canary", "policy", "bake_s"}
    assert bound == draft.values.parameters.model_copy(
        update={
            name: CanaryParameters.model_fields[name].default
            for name in ("stages", "max_failure_rate", "max_p95_ms")
        }
    )
    assert fill_cell("canary", cell, draft.given) == cell


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_every_runbook_has_a_form(runbook):
    """Each parameter has a field: a list of choices where it has few values, else text."""
    made = form(runbook)
    assert made.inputs.keys() == RUNBOOKS[runbook].model_fields.keys()
    assert made.inputs["dry_run"].options[1:] == (("true", "true"), ("false", "false"))
    assert choices(CanaryParameters.model_fields["on_hold"]) == ("rollback", "extend", "smaller step", "ask")
    assert made.write.disabled is bool(made.filled_in.problems)


def test_typing_checks_and_the_button_writes_a_new_notebook(policy, tmp_path):
    """The notebook is the runbook with its cell filled in; an existing file is refused, and stays."""
    made = form("canary", endpoint="fraud", policy=policy)
    assert made.inputs["stages"].placeholder == "[5, 100]"
    made.inputs["canary"].value = "green"
    made.inputs["min_requests"].value = "many"
    assert made.write.disabled
    assert "min_requests: input should be a valid integer" in view(made.filled_in).text
    made.inputs["min_requests"].value = "500"
    made.inputs["on_hold"].value = "ask"
    made.write.click()
    cell = next(
        c
        for c in nbformat.read(tmp_path / "canary-1.ipynb", as_version=4).cells
        if "parameters" in c.metadata.get("tags", [])
    )
    assert cell.source == made.filled_in.cell
    assert 'on_hold = "ask"  # if undecided' in cell.source
    assert '<a href="canary-1.ipynb">' in view(made.filled_in).html
    assert f"in a terminal in {tmp_path}:" in view(made.filled_in).html  # a relative path in it is this folder's
    made.write.click()
    assert "canary-1.ipynb exists" in view(made.filled_in).text
    made.path.value = "notes.txt"
    made.write.click()
    assert "ends in .ipynb" in made.filled_in.refused
    assert "<b>" not in view(replace(made.filled_in, refused="<b>")).html.replace("<b>not valid</b>", "")


def test_the_command_is_the_same_run(policy):
    """What is printed can be typed: quoted for a shell, and read back to the same parameters."""
    draft = check_draft(
        "canary", {"endpoint": "fraud", "canary": "green", "stages": "[10, 100]", "reason": "it's due"}
    )
    command, *words = shlex.split(run_command("canary", draft.given))
    assert (command, words[:2]) == ("opslib", ["run", "canary"])
    pairs = [word.partition("=") for word in words[3::2]]
    assert CanaryParameters.check({name: value for name, _, value in pairs}) == draft.values.parameters


def test_an_unknown_runbook_or_parameter_is_refused():
    """The message names what there is."""
    with pytest.raises(ParameterError, match="no runbook 'canry': expected one of deploy"):
        form("canry")
    with pytest.raises(ParameterError, match="bakes: unknown; canary takes alpha"):
        form("canary", bakes=3)
