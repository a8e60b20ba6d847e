"""Where the runbooks' notebooks are: in a folder of the user's, or as they came with opslib."""

import shutil
from pathlib import Path

from opslib.errors import ParameterError
from opslib.runbook_names import RUNBOOK_NAMES

SHIPPED = (Path(__file__).parents[1] / "notebooks").resolve()
"""A folder of the wheel; in a checkout a link to the repository's ``notebooks/``."""


def find_notebook(runbook: str) -> Path:
    """Return a runbook's notebook: the nearest ``notebooks/`` in this or a parent folder, else as shipped.

    Raises
    ------
    ParameterError
        If no folder has it.
    """
    here = Path.cwd()
    folders = [*(folder / "notebooks" for folder in (here, *here.parents)), SHIPPED]
    path = next((f / f"{runbook}.ipynb" for f in folders if (f / f"{runbook}.ipynb").is_file()), None)
    if path is None:
        raise ParameterError(
            f"there is no notebook for {runbook!r}: expected one of {', '.join(sorted(RUNBOOK_NAMES))}"
        )
    return path


def copy_notebooks(folder: Path) -> list[Path]:
    """Copy the shipped notebooks into a folder, to be edited there; return the files written.

    Raises
    ------
    ParameterError
        If the folder has one of them already, or cannot be written. An existing file is never changed.
    """
    pairs = [(source, folder / source.name) for source in sorted(SHIPPED.glob("*.ipynb"))]
    present = [str(target) for _, target in pairs if target.exists()]
    if present:
        raise ParameterError(f"nothing copied, these files exist: {', '.join(present)}. Name another folder")
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for source, target in pairs:
            shutil.copyfile(source, target)
    except OSError as error:
        raise ParameterError(f"the notebooks cannot be copied to {folder}: {error}") from error
    return [target for _, target in pairs]
