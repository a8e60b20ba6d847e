"""The house: who may import whom, thin notebooks, one public face, and clean tools."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import opslib
from opslib.parameters import RUNBOOKS

ROOT = Path(__file__).parents[2]
PACKAGE = ROOT / "opslib"
MODULES = sorted(PACKAGE.rglob("*.py"))


def imports_of(path):
    """Every module that a file imports, wherever in it the import stands."""
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def importers_of(*names, among=MODULES):
    """Files below opslib/ that import one of the modules or a part of it."""
    found = set()
    for path in among:
        if any(i == name or i.startswith(f"{name}.") for i in imports_of(path) for name in names):
            found.add(path.relative_to(PACKAGE).as_posix())
    return found


def below(*folders):
    return [path for path in MODULES if path.relative_to(PACKAGE).parts[0] in folders]


def test_errors_and_model_stand_below_everything():
    """errors imports nothing of opslib, model at most errors."""
    assert not importers_of("opslib", among=[PACKAGE / "errors.py"])
    assert {i for i in imports_of(PACKAGE / "model.py") if i.startswith("opslib")} <= {"opslib.errors"}


@pytest.mark.parametrize(
    "path",
    [*below("judge"), *(PACKAGE / "change" / f"{name}.py" for name in ("preflight", "plan", "lease"))],
    ids=str,
)
def test_pure_modules_know_no_world(path):
    """The judge, preflight and plans import values only: no Azure, no clock, no files, no randomness."""
    for name in imports_of(path):
        assert not name.startswith(("opslib.azure", "opslib.evidence", "azure", "httpx")), name
        assert not name.startswith("opslib.change") or name.startswith("opslib.change.lease"), name
        assert name.split(".")[0] not in {"time", "random", "secrets", "os", "pathlib", "socket", "subprocess"}, (
            name
        )
        assert name not in {"datetime.now", "numpy.random"}, name


def test_azure_is_the_only_door_to_azure():
    """Nothing else imports an Azure SDK or speaks HTTP; the demo's production is a program of its own."""
    doors = importers_of("azure", "httpx", "requests", "aiohttp", "urllib.request", among=MODULES)
    assert {d for d in doors if not d.startswith(("azure/", "sandbox/"))} == {"demo/production.py"}


def test_engine_is_the_only_door_to_papermill():
    """Whoever executes a notebook goes through the engine that watches it."""
    assert importers_of("papermill", "nbclient") == {"engine.py"}


def test_the_sandbox_stands_alone():
    """The sandbox shares no code with the client, and only the command line knows it."""
    outside = {i for path in below("sandbox") for i in imports_of(path) if i.startswith("opslib")}
    assert all(i.startswith("opslib.sandbox") for i in outside), outside
    assert {p for p in importers_of("opslib.sandbox") if not p.startswith("sandbox/")} == {"cli.py"}


def test_stages_do_not_import_stages():
    """Preflight, plan, apply and observe meet only in the runbooks' own modules."""
    stages = ("preflight", "plan", "apply", "observe")
    for stage in stages:
        others = {f"opslib.change.{other}" for other in stages} - {f"opslib.change.{stage}"}
        assert not others & set(imports_of(PACKAGE / "change" / f"{stage}.py"))


def test_the_public_face_is_sorted_and_complete():
    """Every public name loads; classes first, then functions, each in order."""
    assert sorted(opslib.__all__) == opslib.__all__
    assert all(getattr(opslib, name) for name in opslib.__all__)
    with pytest.raises(AttributeError, match="opslib has no 'nonsense'"):
        _ = opslib.nonsense


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_notebooks_are_thin(runbook):
    """Cells of a few lines that call opslib; no functions, loops or error handling; committed without outputs."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{runbook}.ipynb", as_version=4)
    assert "papermill" not in notebook.metadata
    code = [cell for cell in notebook.cells if cell.cell_type == "code"]
    tags = [cell.metadata.tags[0] for cell in code]
    assert tags[:5] == ["parameters", "bind", "before", "preflight", "plan"]
    assert tags[-2:] == ["record", "conclude"]
    for cell in code:
        assert not cell.outputs
        assert cell.execution_count is None
        tree = ast.parse(cell.source)
        logic = (ast.FunctionDef, ast.ClassDef, ast.Try, ast.While, ast.For, ast.If, ast.Lambda)
        assert not [node for node in ast.walk(tree) if isinstance(node, logic)]
        assert not [node for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)]
        assert {a.name for n in ast.walk(tree) if isinstance(n, ast.Import) for a in n.names} <= {"opslib"}
        if "parameters" not in cell.metadata.tags:
            assert len(cell.source.splitlines()) <= 8


def test_importing_opslib_is_cheap():
    """`import opslib` loads no SDK: names are loaded on first use."""
    code = "import opslib, sys; print(sorted({'azure', 'pydantic', 'httpx', 'matplotlib'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=" ".join,
)
def test_tools_are_clean(command):
    """ruff (notebooks too) and mypy --strict find nothing."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
