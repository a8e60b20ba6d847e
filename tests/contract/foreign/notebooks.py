"""Runs a published notebook unchanged: only the placeholders that its reader must fill are filled."""

import shutil
from pathlib import Path

import nbformat
from nbclient import NotebookClient

from .run import Result, Setting, result

ONLINE = "sdk/python/endpoints/online"
NOTEBOOKS = (
    ("managed/online-endpoints-safe-rollout.ipynb", "own"),
    ("managed/online-endpoints-safe-rollout.ipynb", "azure"),
    ("managed/online-endpoints-simple-deployment.ipynb", "own"),
    ("managed/managed-identities/online-endpoints-managed-identity-sai.ipynb", "azure"),
    ("managed/managed-identities/online-endpoints-managed-identity-uai.ipynb", "azure"),
)
_WITHIN_S = 180


def run_notebook(name: str, way: str, examples: Path, setting: Setting) -> Result:
    """Execute all cells, whatever each one does; the executed notebook stays in the scratch folder."""
    folder = setting.scratch / "notebooks" / way
    shutil.copytree(examples / ONLINE, folder, dirs_exist_ok=True)
    text = (folder / name).read_text(encoding="utf-8")
    names = setting.sandbox.workspace
    for placeholder, value in (
        ("<SUBSCRIPTION_ID>", names["subscription_id"]),
        ("<RESOURCE_GROUP>", names["resource_group"]),
        ("<AML_WORKSPACE_NAME>", names["workspace_name"]),
    ):
        text = text.replace(placeholder, value)
    notebook = nbformat.reads(text, as_version=4)
    client = NotebookClient(
        notebook,
        timeout=_WITHIN_S,
        kernel_name="python3",
        allow_errors=True,
        resources={"metadata": {"path": str((folder / name).parent)}},
    )
    client.execute(env=setting.environment(way))
    nbformat.write(notebook, folder / f"{Path(name).stem}.executed.ipynb", version=nbformat.NO_CONVERT)
    cells = [cell for cell in notebook.cells if cell.cell_type == "code"]
    problems = [problem for cell in cells if (problem := _problem(cell))]
    return result(name, way, len(cells), problems)


def _problem(cell: nbformat.NotebookNode) -> str:
    """Return what a cell raised, its first line; empty when it succeeded."""
    for output in cell.outputs:
        if output.output_type == "error":
            return f"{output.ename}: {output.evalue.strip().splitlines()[0] if output.evalue.strip() else ''}"[:200]
    return ""
