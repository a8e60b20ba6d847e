"""Thin notebooks, one public face, and clean tools."""

import ast
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import opslib
from opslib.parameters import RUNBOOKS

ROOT = Path(__file__).parents[2]


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
    changes = RUNBOOKS[runbook].changes
    first = ["parameters", "bind", "before", *(["preflight", "plan"] if changes else [])]
    assert tags[: len(first)] == first
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


@pytest.mark.parametrize("runbook", RUNBOOKS)
def test_a_parameters_comment_is_its_description(runbook):
    """What the first cell explains is what `opslib run` explains, on one line that fits the cell."""
    notebook = nbformat.read(ROOT / "notebooks" / f"{runbook}.ipynb", as_version=4)
    cell = next(cell for cell in notebook.cells if "parameters" in cell.metadata.get("tags", []))
    for line in cell.source.splitlines():
        code, comment = line.split("  # ")
        assert comment == RUNBOOKS[runbook].model_fields[code.split(":")[0]].description
        assert len(line) <= 116


def test_importing_opslib_is_cheap():
    """`import opslib` loads no SDK: names are loaded on first use."""
    code = "import opslib, sys; print(sorted({'azure', 'pydantic', 'httpx', 'matplotlib'} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


def test_status_imports_little():
    """`opslib status` is a look of a second: without a policy it loads no statistics and no models."""
    unused = {"numpy", "scipy", "pydantic", "yaml", "httpx", "rich", "matplotlib", "azure.ai"}
    code = f"import opslib.cli.status, sys; print(sorted({unused} & sys.modules.keys()))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"


@pytest.mark.parametrize(
    "command",
    [["ruff", "check"], ["ruff", "format", "--check"], ["mypy"]],
    ids=" ".join,
)
def test_tools_are_clean(command):
    """ruff (notebooks too) and mypy, --strict for opslib, find nothing."""
    done = subprocess.run([sys.executable, "-m", *command], cwd=ROOT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
