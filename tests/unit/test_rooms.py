"""The rooms: folders import downwards only, no two import each other, and no circle is left."""

import pytest
from house import MODULES, PACKAGE, circle, edges, importers_of, imports_of, module_name, room

LEVELS = {
    # what everything may use
    "opslib.errors": 0,
    "opslib.displayed": 0,
    "opslib.import_shims": 0,
    "opslib.outcome": 0,
    "opslib.processes": 0,
    "opslib.quick_end": 0,
    "opslib.signals": 0,
    "opslib.target": 0,
    "opslib.model": 1,
    "opslib.redaction": 2,
    "opslib.definitions": 2,
    "opslib.cost": 2,
    "opslib.access": 3,
    "opslib.sizing": 3,
    "opslib.autoscale": 3,
    "opslib.notify": 2,
    # pure
    "opslib.judge.values": 2,
    "opslib.judge.harm": 3,
    "opslib.judge.proof": 4,
    "opslib.judge.looks": 5,
    "opslib.judge": 6,
    # the world
    "opslib.azure": 7,
    "opslib.parameter_input": 3,
    "opslib.runbook_names": 3,
    "opslib.runbook_parameters": 6,
    "opslib.parameters": 8,
    "opslib.policy": 9,
    "opslib.review": 10,
    "opslib.pipelines": 10,
    "opslib.diagnosis": 11,
    # evidence
    "opslib.evidence.run": 8,
    "opslib.evidence.signing": 9,
    "opslib.evidence.archive": 10,
    "opslib.evidence.verify": 11,
    "opslib.evidence.present": 11,
    "opslib.evidence.table": 11,
    "opslib.evidence": 12,
    # runbooks
    "opslib.runbooks.lease": 13,
    "opslib.runbooks.steps": 14,
    "opslib.runbooks.undo": 15,
    "opslib.runbooks.canary": 17,
    "opslib.runbooks": 16,
    "opslib.inventory": 14,
    "opslib.drift": 14,
    "opslib.scaffold": 14,
    "opslib.fleet": 17,
    "opslib.show": 18,
    "opslib.runner": 19,
    "opslib.warm": 20,
    "opslib.demo": 20,
    "opslib.doctor": 20,
    "opslib.lab": 20,
    "opslib.demo.scenarios": 21,
    # the sandbox knows nothing of the rest
    "opslib.sandbox.core": 2,
    "opslib.sandbox.arm": 3,
    "opslib.sandbox.identity": 4,
    "opslib.sandbox.telemetry.kql": 4,
    "opslib.sandbox.telemetry": 5,
    "opslib.sandbox.storage": 5,
    "opslib.sandbox.faults": 5,
    "opslib.sandbox.instances": 6,
    "opslib.sandbox.endpoints": 7,
    "opslib.sandbox.scoring": 8,
    "opslib.sandbox.graph": 8,
    "opslib.sandbox.templates": 8,
    "opslib.sandbox.insights": 9,
    "opslib.sandbox.insights.autoscale": 10,
    "opslib.sandbox.insights.alerts": 10,
    "opslib.sandbox.server": 11,
    "opslib.sandbox.cli": 12,
    "opslib.sandbox.testing": 13,
    "opslib.sandbox": 14,
    "opslib.cli": 22,
    "opslib.__main__": 23,
    "opslib": 24,
}
"""Every room and its level: it imports only from rooms on lower levels, and from itself."""


def test_every_room_has_a_level():
    """A new folder must be given its place before it is used."""
    assert {room(module) for module in MODULES} == LEVELS.keys()


def test_rooms_import_downwards_only():
    """No room imports from its own level or a higher one; so no two import each other."""
    upward = {
        f"{source} imports {target}"
        for source, target in edges()
        if room(source) != room(target) and LEVELS[room(source)] <= LEVELS[room(target)]
    }
    assert not upward


def test_there_is_no_import_circle():
    """No module imports itself by way of others, within a room or across rooms."""
    assert circle(set(edges())) == []
    assert circle({("a", "b"), ("b", "c"), ("c", "a"), ("d", "a")}) == ["a", "b", "c", "d"]
    assert circle({("a", "b"), ("b", "c")}) == []


def test_errors_and_model_are_below_everything():
    """errors imports nothing of opslib, model at most errors, `Displayed`, `Outcome` and its own modules."""
    assert not [name for name in imports_of(PACKAGE / "errors.py") if name.startswith("opslib")]
    model = [path for module, path in MODULES.items() if module.startswith("opslib.model")]
    assert len(model) >= 4
    own = {name for path in model for name in imports_of(path) if name.startswith("opslib")}
    assert all(
        name.startswith(("opslib.displayed", "opslib.errors", "opslib.outcome", "opslib.model.")) for name in own
    )


PURE = [
    *(path for module, path in MODULES.items() if module.startswith(("opslib.review", "opslib.diagnosis"))),
    *(path for module, path in MODULES.items() if module.startswith("opslib.access")),
    *(path for module, path in MODULES.items() if module.startswith("opslib.judge")),
    *(path for module, path in MODULES.items() if module.startswith(("opslib.cost", "opslib.notify"))),
    *(path for module, path in MODULES.items() if module.startswith(("opslib.sizing", "opslib.autoscale"))),
    PACKAGE / "runbooks/steps/preflight.py",
    PACKAGE / "runbooks/steps/access_preflight.py",
    PACKAGE / "runbooks/steps/cost_preflight.py",
    PACKAGE / "runbooks/steps/definition_preflight.py",
    PACKAGE / "runbooks/steps/policy_preflight.py",
    PACKAGE / "runbooks/steps/capacity_preflight.py",
    PACKAGE / "runbooks/steps/monitoring_preflight.py",
    PACKAGE / "runbooks/steps/mirror_preflight.py",
    PACKAGE / "runbooks/steps/retire_preflight.py",
    *(
        PACKAGE / f"policy/{name}.py"
        for name in (
            *("agreements", "exceptions", "policy", "section", "security", "standards"),
            *("validations", "windows"),
        )
    ),
    PACKAGE / "definitions/tolerance.py",
    PACKAGE / "runbooks/steps/plan.py",
    PACKAGE / "runbooks/steps/step_text.py",
    PACKAGE / "runbooks/lease/tags.py",
]


@pytest.mark.parametrize("path", PURE, ids=module_name)
def test_pure_modules_reach_nothing_outside(path):
    """The judge, preflight, plan and lease import values only: no Azure, no clock, no files, no randomness."""
    world = {"time", "random", "secrets", "os", "pathlib", "socket", "subprocess", "azure", "httpx"}
    for name in imports_of(path):
        assert not name.startswith(("opslib.azure", "opslib.evidence")), name
        assert not name.startswith("opslib.runbooks") or name.startswith("opslib.runbooks.lease"), name
        assert name.split(".")[0] not in world, name
        assert name not in {"datetime.now", "numpy.random"}, name


def test_azure_alone_reaches_azure():
    """Nothing else imports an Azure SDK or speaks HTTP; the demo's production is a program of its own."""
    found = importers_of("azure", "httpx", "requests", "aiohttp", "urllib.request")
    outside = {module for module in found if not module.startswith(("opslib.azure.", "opslib.sandbox."))}
    assert outside == {"opslib.demo.production"}


def test_one_module_imports_papermill():
    """Every notebook is executed by the engine that watches it."""
    assert importers_of("papermill", "nbclient") == {"opslib.runner.papermill_engine"}


def test_the_sandbox_shares_no_code_with_the_client():
    """The sandbox imports nothing of opslib, and only the command line imports it."""
    own = {i for m, path in MODULES.items() if m.startswith("opslib.sandbox") for i in imports_of(path)}
    assert not {name for name in own if name.startswith("opslib.") and not name.startswith("opslib.sandbox")}
    found = {m for m in importers_of("opslib.sandbox") if not m.startswith("opslib.sandbox")}
    assert all(module.startswith("opslib.cli.") for module in found), found


def test_steps_do_not_import_each_other():
    """Preflight, plan, apply and observe meet only in the runbooks' own modules."""
    steps = {m: path for m, path in MODULES.items() if m.startswith("opslib.runbooks.steps.")}
    assert len(steps) >= 4
    for module, path in steps.items():
        assert not steps.keys() & set(imports_of(path)) - {module}


def test_no_module_is_longer_than_a_reader_holds():
    """Modules stay below 320 lines: what is longer holds two nouns."""
    assert {m: n for m, path in MODULES.items() if (n := len(path.read_text().splitlines())) > 320} == {}
