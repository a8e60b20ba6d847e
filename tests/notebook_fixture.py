"""Runbooks of a few cells that need no endpoint: they end in every way in which a notebook can."""

import json
from pathlib import Path

import nbformat

from opslib.parameters.rollback import RollbackParameters

PARAMETERS = "\n".join(
    f"{name} = {field.default!r}" if not field.is_required() else f'{name} = ""'
    for name, field in RollbackParameters.model_fields.items()
)

RECORD = """
import os, pathlib
from opslib.evidence.run.record import read_record, write_record
from opslib.model import Outcome
folder = pathlib.Path(os.environ["OPSLIB_RUN_FOLDER"])
write_record(folder, read_record(folder).ended(Outcome.SUCCEEDED, "it says so itself"))
"""


def write_runbook(folder: Path, *cells: str, tags: tuple[str, ...] = ()) -> Path:
    """Write ``notebooks/rollback.ipynb`` with a parameters cell and the given ones, the first of them tagged."""
    new = nbformat.v4
    code = [new.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})]
    code += [new.new_code_cell(cell, metadata={"tags": [f"step{n}"]}) for n, cell in enumerate(cells)]
    code[1].metadata.tags += list(tags)
    kernel = {"name": "python3", "display_name": "Python 3", "language": "python"}
    path = folder / "notebooks" / "rollback.ipynb"
    path.parent.mkdir(exist_ok=True)
    nbformat.write(
        new.new_notebook(cells=[*code, new.new_markdown_cell("The end")], metadata={"kernelspec": kernel}), path
    )
    return path


def outputs(folder: Path) -> str:
    """Everything that an executed notebook shows."""
    cells = json.loads((folder / "notebook.ipynb").read_text())["cells"]
    return json.dumps([cell["outputs"] for cell in cells if cell["cell_type"] == "code"])
