"""What an instance may find imported: only what its environment names, and only where that changes nothing."""

from pathlib import Path

import pytest

from opslib.sandbox.instances.packages import Imports, find_imports

SCRIPT = "import os, joblib\nmodel = os.environ['AZUREML_MODEL_DIR']\n"


def test_an_environment_s_packages_may_be_imported(tmp_path: Path):
    """Others are not: what their import reads or starts is not known."""
    (tmp_path / "score.py").write_text(SCRIPT)
    found = find_imports({"numpy", "torch", "python"}, ["VERSION"], ["score.py", "model.joblib"], tmp_path)
    assert found == Imports(("numpy",), frozenset({"score"}))
    assert find_imports({"torch"}, [], ["score.py"], tmp_path) == Imports()


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("OMP_NUM_THREADS", ""),
        ("SKLEARN_WORKING_MEMORY", ""),
        ("VERSION", "os.environ['OPENBLAS_NUM_THREADS'] = '1'"),
    ],
)
def test_nothing_is_imported_before_a_variable_that_the_import_reads(tmp_path: Path, variable: str, line: str):
    """A deployment sets it, or its code does."""
    (tmp_path / "score.py").write_text(f"import os\n{line}\nimport numpy\n")
    assert find_imports({"numpy"}, [variable], ["score.py"], tmp_path) == Imports()
